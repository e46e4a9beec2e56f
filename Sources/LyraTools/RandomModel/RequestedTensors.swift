import Glibc
import LyraFormats
import LyraTensor

/// Tensors that networks requested of random or initial weights, as files.
extension [StoredTensor] {
    private var specs: [TensorSpec] { map { TensorSpec(name: $0.name, type: $0.type, shape: $0.shape) } }

    func write(safetensors path: String) throws {
        let writer = try SafetensorsWriter(path: path, tensors: specs)
        for tensor in self { try writer.write(tensor.name, tensor.bytes) }
        try writer.finish()
    }

    /// - Parameter keys: the path of dictionary keys to the tensors
    func write(torch path: String, under keys: [String]) throws {
        let writer = try TorchWriter(path: path, tensors: specs, under: keys)
        for tensor in self { try writer.write(tensor.name, tensor.bytes) }
        try writer.finish()
    }

    /// A vocoder's tensors as the published file has them: convolutions with weight norm, which is a direction and a
    /// length for each index of the first axis.
    func withWeightNorm() throws -> [StoredTensor] {
        try flatMap { tensor -> [StoredTensor] in
            guard tensor.shape.count == 3, !tensor.name.hasPrefix("dur_predictor.") else { return [tensor] }
            let rows = tensor.shape[0], values = try tensor.floats(), width = values.count / rows
            let lengths = (0..<rows).map { row in
                sqrtf(values[row * width..<(row + 1) * width].reduce(0) { $0 + $1 * $1 })
            }
            let storage = try FloatStorage(count: rows)
            storage.base.update(from: lengths, count: rows)
            let bytes = UnsafeRawBufferPointer(start: storage.base, count: rows * 4)
            return [
                StoredTensor(
                    name: tensor.name + "_v", type: .float32, shape: tensor.shape, bytes: tensor.bytes,
                    owner: tensor.owner,
                    source: tensor.source),
                StoredTensor(
                    name: tensor.name + "_g", type: .float32, shape: [rows, 1, 1], bytes: bytes, owner: storage,
                    source: tensor.source),
            ]
        }
    }
}
