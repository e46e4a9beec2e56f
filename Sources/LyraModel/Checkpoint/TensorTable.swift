import LyraBase
import LyraTensor

/// Tensors from files, by name, optionally without a common prefix.
struct TensorTable: WeightSource {
    let origin: String
    let precision: Precision
    let tensors: [String: StoredTensor]

    init(origin: String, tensors: [String: StoredTensor], precision: Precision = .exact) {
        self.origin = origin
        self.tensors = tensors
        self.precision = precision
    }

    var names: Dictionary<String, StoredTensor>.Keys { tensors.keys }

    var all: [StoredTensor] { Array(tensors.values) }

    func contains(_ name: String) -> Bool { tensors[name] != nil }

    func shape(of name: String) -> [Int]? { tensors[name]?.shape }

    func tensor(_ name: String, _ shape: [Int]) throws -> StoredTensor {
        guard let tensor = tensors[name] else {
            throw LyraError(.missing, "\(origin): there is no tensor \(name)")
        }
        guard tensor.type != .other else {
            throw LyraError(
                .unsupported,
                "\(tensor.source): tensor \(shown(tensor.name)) is of type \(shown(tensor.typeName)), which lyra does "
                    + "not read; convert the checkpoint to BF16, F16 or F32")
        }
        guard tensor.shape == shape else {
            throw LyraError(
                .format,
                "\(tensor.source): tensor \(shown(tensor.name)) has shape \(tensor.shape.prefix(16)), but the "
                    + "configuration requires \(shape)"
            )
        }
        return tensor
    }

    /// The tensors under the first of `prefixes` that holds `name`, without that prefix.
    func subtable(under prefixes: [String], holding name: String) -> TensorTable? {
        guard let prefix = prefixes.first(where: { contains($0 + name) }) else { return nil }
        let members = tensors.compactMap { $0.hasPrefix(prefix) ? (String($0.dropFirst(prefix.count)), $1) : nil }
        return TensorTable(origin: origin, tensors: Dictionary(members) { first, _ in first }, precision: precision)
    }

    /// Splits off the tensors under `prefix`, without the prefix; nil if there are none.
    ///
    /// - Parameter isPart: whether a tensor under the prefix is split off
    func splitting(
        prefix: String, where isPart: (String) -> Bool
    ) -> (rest: TensorTable, part: TensorTable?) {
        let names = tensors.keys.filter { $0.hasPrefix(prefix) && isPart($0) }
        guard !names.isEmpty else { return (self, nil) }
        var rest = tensors, part: [String: StoredTensor] = [:]
        for name in names { part[String(name.dropFirst(prefix.count))] = rest.removeValue(forKey: name) }
        return (
            TensorTable(origin: origin, tensors: rest, precision: precision),
            TensorTable(origin: origin, tensors: part, precision: precision)
        )
    }

    /// The tensors of a speech projector, `linear1.weight` and the others, under whatever prefix was saved with them;
    /// nil if there are none.
    ///
    /// Training saves the projector with the names of the modules around it, which differ: any prefix that ends in
    /// `mm_speech_projector.`, `model.` for a state dict under the key `model`, or none.
    /// - Throws: `LyraError.format` if there are several.
    func speechProjector() throws -> TensorTable? {
        let ending = "linear1.weight"
        let prefixes = tensors.keys.filter { $0.hasSuffix(ending) }.map { String($0.dropLast(ending.count)) }
            .filter { $0.isEmpty || $0 == "model." || $0 == Self.projector || $0.hasSuffix("." + Self.projector) }
        guard prefixes.count < 2 else {
            throw LyraError(
                .format,
                "\(origin): \(prefixes.count) speech projectors, under "
                    + prefixes.sorted().prefix(4).map { shown($0) }.joined(separator: ", ") + "; keep one of them")
        }
        return subtable(under: prefixes, holding: ending)
    }

    private static let projector = "mm_speech_projector."
}
