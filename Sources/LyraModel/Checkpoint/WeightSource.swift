import LyraBase
import LyraFormats
import LyraTensor

/// Where a network gets its weights, usually the files of a checkpoint.
///
/// Networks request each tensor by its checkpoint name and the shape that their configuration implies. So a source can
/// also record or make what networks request.
public protocol WeightSource {
    /// File or directory, for messages.
    var origin: String { get }
    /// Precision of products with these weights.
    var precision: Precision { get }
    func contains(_ name: String) -> Bool
    /// - Throws: `LyraError.missing` if there is no such tensor, `LyraError.format` if its shape differs.
    func tensor(_ name: String, _ shape: [Int]) throws -> StoredTensor
    /// A matrix [outputs, inputs…], used in place unless it is quantized, packed for `fast`, or trained.
    func weight(_ name: String, _ shape: [Int]) throws -> Weight
    /// A tensor that is not a product's matrix (a norm's weight, a bias, positions), copied to floats.
    func floats(_ name: String, _ shape: [Int]) throws -> Tensor
    /// The same tensor, if training changes it; nil otherwise.
    func trained(_ name: String, _ shape: [Int]) throws -> Tensor?
}

extension WeightSource {
    /// A matrix `[outputs, inputs…]`, used in place unless it is quantized, has 8-bit floats, or is packed for `fast`.
    public func weight(_ name: String, _ shape: [Int]) throws -> Weight {
        let stored = try unscaled(name, shape)
        let weight = try Weight(stored).prepared(for: precision)
        // A packed matrix is a copy, so the file's pages need not stay resident.
        if weight.isPacked { stored.dropResidentPages() }
        return weight
    }

    public func trained(_ name: String, _ shape: [Int]) throws -> Tensor? { nil }

    /// The tensor; rejects 8-bit floats that need a separate scale tensor.
    ///
    /// - Throws: the errors of `tensor`; `LyraError.unsupported`, naming the scale tensor.
    func unscaled(_ name: String, _ shape: [Int]) throws -> StoredTensor {
        let stored = try tensor(name, shape)
        guard stored.type.isFloat8 else { return stored }
        let module = name.split(separator: ".").dropLast().map { $0 + "." }.joined()
        let scales =
            ["_scale", "_scale_inv", "_scale_2", "_scales", "_global_scale", "_zero_point"].map { name + $0 }
            + ["scale", "scale_inv", "scales", "scale_weight", "input_scale", "input_scale_inv", "scale_input"].map {
                module + $0
            }
        guard let scale = scales.first(where: contains) else { return stored }
        throw LyraError(
            .unsupported,
            "\(stored.source): tensor \(shown(stored.name)) is \(stored.typeName) with the scale \(shown(scale)), "
                + "which lyra does not apply; convert the checkpoint to BF16")
    }

    /// A tensor that is not a product's matrix (a norm's weight, a bias, positions), copied to floats.
    public func floats(_ name: String, _ shape: [Int]) throws -> Tensor { try unscaled(name, shape).values() }
}

/// A source that puts a prefix such as `blocks.0.` before every name.
package struct PrefixedSource: WeightSource {
    fileprivate let base: any WeightSource
    fileprivate let prefix: String

    package var origin: String { base.origin }
    package var precision: Precision { base.precision }
    package func contains(_ name: String) -> Bool { base.contains(prefix + name) }
    package func tensor(_ name: String, _ shape: [Int]) throws -> StoredTensor {
        try base.tensor(prefix + name, shape)
    }
    package func weight(_ name: String, _ shape: [Int]) throws -> Weight { try base.weight(prefix + name, shape) }
    package func floats(_ name: String, _ shape: [Int]) throws -> Tensor { try base.floats(prefix + name, shape) }
    package func trained(_ name: String, _ shape: [Int]) throws -> Tensor? { try base.trained(prefix + name, shape) }
}

extension WeightSource {
    /// The tensors whose names begin with `prefix`, by the rest of their names.
    package func under(_ prefix: String) -> PrefixedSource { PrefixedSource(base: self, prefix: prefix) }
}
