import Foundation
import LyraFormats

@testable import LyraModel
@testable import LyraTools

/// A one-file model in a directory of its own, without towers beside it. The last reference removes the directory.
final class OneFile {
    let folder = NSTemporaryDirectory() + "lyra-one-file-\(UUID().uuidString)"
    var path: String { folder + "/model.gguf" }

    init() throws { try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true) }

    /// Converts a checkpoint.
    convenience init(
        _ model: String, _ recipe: Recipe, scope: ModelConverter.Scope = .whole,
        options: CheckpointOptions = CheckpointOptions()
    ) throws {
        try self.init()
        _ = try ModelConverter(path: model, options: options, recipe: recipe, scope: scope).write(to: path)
    }

    deinit { try? FileManager.default.removeItem(atPath: folder) }

    func open(_ options: CheckpointOptions = CheckpointOptions()) throws -> Checkpoint {
        try withExtendedLifetime(self) { try Checkpoint.open(path, options: options) }
    }

    /// The same file with other metadata, or other tensors.
    func changed(
        metadata change: (inout [String: GGUFValue]) -> Void = { _ in }, keeping: (String) -> Bool = { _ in true }
    ) throws -> OneFile {
        let file = try GGUFFile(path: path), copy = try OneFile()
        var metadata = file.metadata
        change(&metadata)
        let tensors = file.names.filter(keeping).compactMap { file.tensor($0) }
        let writer = try GGUFWriter(
            path: copy.path, metadata: metadata.sorted { $0.key < $1.key }.map { ($0.key, $0.value) },
            tensors: tensors.map { TensorSpec(name: $0.name, type: $0.type, shape: $0.shape) })
        for tensor in tensors { try writer.write(tensor.name, tensor.bytes) }
        try writer.finish()
        return copy
    }
}

extension OneFile {
    /// The same file with one more tensor, of F32.
    func adding(_ name: String, _ values: [Float]) throws -> OneFile {
        let file = try GGUFFile(path: path), copy = try OneFile()
        let tensors = file.names.compactMap { file.tensor($0) }
        let writer = try GGUFWriter(
            path: copy.path, metadata: file.keys.compactMap { key in file.metadata[key].map { (key, $0) } },
            tensors: tensors.map { TensorSpec(name: $0.name, type: $0.type, shape: $0.shape) }
                + [TensorSpec(name: name, type: .float32, shape: [values.count])])
        for tensor in tensors { try writer.write(tensor.name, tensor.bytes) }
        try values.withUnsafeBytes { try writer.write(name, $0) }
        try writer.finish()
        return copy
    }
}

/// The RMS of the differences, as a share of the range of `want`.
func rootMeanSquareOfRange(_ got: [Float], _ want: [Float]) -> Float {
    guard got.count == want.count, let low = want.min(), let high = want.max() else { return .infinity }
    let squares = zip(got, want).reduce(Float(0)) { $0 + ($1.0 - $1.1) * ($1.0 - $1.1) }
    return (squares / Float(want.count)).squareRoot() / (high - low)
}
