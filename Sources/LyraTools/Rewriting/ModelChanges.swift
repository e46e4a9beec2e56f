import LyraBase
import LyraFormats
import LyraModel
import LyraTensor

/// How a written checkpoint differs from the one that it is made from.
package struct ModelChanges {
    /// New tensors by part, under the names that `Checkpoint.parameters` has. The main part can also get tensors that
    /// it lacks, such as a speech generator's.
    package private(set) var tensors: [ModelPart: [NewTensor]] = [:]
    /// Members that config.json gets, at the top level and, where it has them, under `text_config`.
    package var configuration: [(key: String, value: JSONValue)] = []
    /// Adapters that are left out, by index.
    package var omittedAdapters: Set<Int> = []
    /// Type of the new tensors; nil for the type of the tensor that each replaces. F32 loses nothing of a training.
    package var type: ElementType?

    package init() {}

    /// Replaces or adds a tensor.
    package mutating func set(_ part: ModelPart, _ tensor: NewTensor) { tensors[part, default: []].append(tensor) }
}

/// A tensor's place in a file.
private struct TensorPlace: Hashable {
    // Bytes, because Unicode equality would match distinct names.
    private let file: [UInt8]
    private let name: [UInt8]

    init(_ tensor: StoredTensor) { (file, name) = (Array(tensor.source.utf8), Array(tensor.name.utf8)) }
}

/// The changes by the files that they concern.
struct FileChanges {
    private var replacements: [TensorPlace: NewTensor] = [:]
    private var files: Set<[UInt8]> = []
    /// Tensors that the main part lacks.
    private(set) var additions: [NewTensor] = []
    private let type: ElementType?

    /// - Throws: `LyraError.argument` for a tensor that the checkpoint does not have, or not in this shape.
    init(_ changes: ModelChanges, _ contents: ModelContents, source: String) throws {
        type = changes.type
        if let type { try NewTensor.checkType(type) }
        for (part, tensors) in changes.tensors {
            let table = contents.tensors.first { $0.part == part }?.tensors ?? [:]
            for tensor in tensors {
                guard let stored = table[tensor.name] else {
                    guard part == .main, !additions.contains(where: { $0.name == tensor.name }) else {
                        throw LyraError(.argument, "\(source): there is no tensor \(shown(tensor.name)) to replace")
                    }
                    additions.append(tensor)
                    continue
                }
                guard stored.shape == tensor.shape else {
                    throw LyraError(
                        .argument,
                        "\(stored.source): tensor \(shown(stored.name)) has shape \(stored.shape); the new one has "
                            + "\(tensor.shape)")
                }
                replacements[TensorPlace(stored)] = tensor
                files.insert(Array(stored.source.utf8))
            }
        }
    }

    /// Whether a tensor of this file changes.
    func concern(file: String) -> Bool { files.contains(Array(file.utf8)) }

    func replacement(of tensor: StoredTensor) -> NewTensor? { replacements[TensorPlace(tensor)] }

    /// A tensor of a file, or what replaces it.
    func item(_ stored: StoredTensor, name: String) throws -> RewrittenTensor {
        guard let tensor = replacement(of: stored) else { return RewrittenTensor(copying: stored, name: name) }
        return RewrittenTensor(tensor, name: name, type: try type ?? stored.typeForNewValues())
    }

    /// - Parameter like: the tensor whose type an added tensor gets unless the changes name one
    func item(adding tensor: NewTensor, like: StoredTensor?) throws -> RewrittenTensor {
        RewrittenTensor(tensor, name: tensor.name, type: try type ?? like?.typeForNewValues() ?? .float32)
    }
}

/// A tensor of a rewritten file: copied from the old one, or new.
struct RewrittenTensor {
    private enum Content {
        case copy(StoredTensor)
        case new(NewTensor)
    }

    let spec: TensorSpec
    let byteCount: Int
    private let content: Content

    init(copying stored: StoredTensor, name: String) {
        spec = TensorSpec(name: name, type: stored.type, shape: stored.shape)
        (byteCount, content) = (stored.byteCount, .copy(stored))
    }

    init(_ tensor: NewTensor, name: String, type: ElementType) {
        spec = TensorSpec(name: name, type: type, shape: tensor.shape)
        let count = (try? FloatStorage.count(of: tensor.shape)) ?? Int.max
        byteCount = count.saturatingMultiplying(by: type.size)
        content = .new(NewTensor(name, tensor.shape, values: tensor.values))
    }

    /// - Throws: `LyraError.unsupported` for a type that only its own file holds.
    func checkType() throws {
        guard case .copy(let stored) = content, stored.type == .other else { return }
        throw LyraError(
            .unsupported,
            "\(stored.source): tensor \(shown(stored.name)) is of type \(shown(stored.typeName)), which lyra cannot "
                + "write; convert the checkpoint to BF16, F16 or F32")
    }

    func write(to writer: SafetensorsWriter, check: () throws -> Void) throws {
        try check()
        switch content {
        case .copy(let stored): try stored.copy(to: writer, as: spec.name, check: check)
        case .new(let tensor): try tensor.write(as: spec.type, to: writer)
        }
    }

    func write(to writer: TorchWriter, check: () throws -> Void) throws {
        try check()
        switch content {
        case .copy(let stored): try writer.write(spec.name, stored.bytes)
        case .new(let tensor): try tensor.write(as: spec.type, to: writer)
        }
    }
}
