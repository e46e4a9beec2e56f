import Foundation
import LyraBase
import LyraFormats
import LyraTensor
import TestSupport
import Testing

@testable import LyraModel

/// Tensors of F32 by name, for writing.
typealias FloatTensors = [String: (shape: [Int], values: [Float])]

extension FloatTensors {
    /// Writes a safetensors file.
    func write(safetensors path: String) throws {
        let sorted = sorted { $0.key < $1.key }
        let writer = try SafetensorsWriter(
            path: path, tensors: sorted.map { TensorSpec(name: $0.key, type: .float32, shape: $0.value.shape) })
        for (name, tensor) in sorted { try tensor.values.withUnsafeBytes { try writer.write(name, $0) } }
        try writer.finish()
    }

    /// Writes a torch.save file.
    func write(torch path: String) throws {
        let sorted = sorted { $0.key < $1.key }
        let writer = try TorchWriter(
            path: path, tensors: sorted.map { TensorSpec(name: $0.key, type: .float32, shape: $0.value.shape) })
        for (name, tensor) in sorted { try tensor.values.withUnsafeBytes { try writer.write(name, $0) } }
        try writer.finish()
    }

    /// The same tensors under other names.
    func renamed(_ name: (String) -> String) -> FloatTensors {
        var result: FloatTensors = [:]
        for (old, tensor) in self { result[name(old)] = tensor }
        return result
    }

    /// These tensors, and the others in place of those with the same names.
    func replacing(with others: FloatTensors) -> FloatTensors { merging(others) { _, new in new } }

    /// Small random numbers in these shapes.
    init(_ shapes: [(String, [Int])], around center: Float = 0, seed: UInt64) {
        self.init()
        var generator = SeededGenerator(state: seed)
        for (name, shape) in shapes {
            var values: [Float] = []
            for _ in 0..<shape.reduce(1, *) {
                values.append(center + Float.random(in: -0.3...0.3, using: &generator))
            }
            self[name] = (shape, values)
        }
    }
}

/// A copy of a fixture without its adapters, which gets one adapter, or the same update folded into its weights.
final class AdapterCheckpoint {
    let copy: CheckpointCopy
    private var folder: String { copy.model + "/test_lora" }

    init(_ name: String) throws {
        copy = try CheckpointCopy(name, zoo: false)
        for adapter in ["speech_lora", "long_speech_lora"] {
            try FileManager.default.removeItem(atPath: copy.model + "/" + adapter)
        }
    }

    /// Adds the adapter `test`.
    ///
    /// - Parameter keys: members of adapter_config.json besides r and lora_alpha, as JSON
    func add(_ tensors: FloatTensors, rank: Int, alpha: Double, keys: String = "", pickled: Bool = false) throws {
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        let configuration =
            "{\"peft_type\": \"LORA\", \"r\": \(rank), \"lora_alpha\": \(alpha)\(keys.isEmpty ? "" : ", " + keys)}"
        try Data(configuration.utf8).write(to: URL(filePath: folder + "/adapter_config.json"))
        if pickled {
            try tensors.write(torch: folder + "/adapter_model.bin")
        } else {
            try tensors.write(safetensors: folder + "/adapter_model.safetensors")
        }
    }

    /// The checkpoint's own tensors as floats.
    func base() throws -> FloatTensors {
        try ShardedSafetensors(directory: copy.model).tensors.mapValues { ($0.shape, try $0.floats()) }
    }

    /// Replaces the checkpoint's weights.
    func replace(_ tensors: FloatTensors) throws {
        try FileManager.default.removeItem(atPath: copy.model + "/model.safetensors.index.json")
        try tensors.write(safetensors: copy.model + "/model.safetensors")
    }

    /// Scores of the token after a short text.
    func logits(adapter: Int?) throws -> [Float] { try Self.logits(copy.open(), adapter: adapter) }

    static func logits(_ checkpoint: Checkpoint, adapter: Int?) throws -> [Float] {
        let decoder = checkpoint.decoder
        let ids: [Int32] = [5, 300, 17, 1999, 42, 7]
        var prefill = try Prefill(
            decoder, embeddings: decoder.embed(ids, adapter: adapter),
            positions: ids.indices.map { Position(Int32($0)) })
        let caches = decoder.makeCaches()
        while !prefill.isDone { try prefill.step(decoder, caches: caches, adapter: adapter) }
        let last = try decoder.decode(9, position: Position(Int32(ids.count)), caches: caches, adapter: adapter)
        return try decoder.logits(prefill.lastRows(decoder), adapter: adapter).values
            + decoder.logits(last, adapter: adapter).values
    }
}

/// W + scale · B · A in double precision, rounded once.
func folded(
    _ weight: (shape: [Int], values: [Float]), _ a: [Float], _ b: [Float], rank: Int, scale: Double
) -> [Float] {
    let (outputs, inputs) = (weight.shape[0], weight.shape[1])
    var result = weight.values
    for row in 0..<outputs {
        for column in 0..<inputs {
            var update = 0.0
            for inner in 0..<rank {
                let (left, right) = (Double(b[row * rank + inner]), Double(a[inner * inputs + column]))
                update += left * right
            }
            let index = row * inputs + column
            result[index] = Float(Double(result[index]) + scale * update)
        }
    }
    return result
}
