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
}
