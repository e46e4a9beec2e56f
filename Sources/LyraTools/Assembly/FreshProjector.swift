import LyraBase
import LyraFormats
import LyraModel
import LyraTensor

/// A speech projector before its training, as PyTorch initialises the reference's `nn.Linear` layers: weights and
/// biases uniform in ±1/√inputs (`torch.nn.Linear.reset_parameters`), stored in BF16 like the published projectors.
struct FreshProjector {
    let seed: UInt64
    let tensors: [TensorSpec]
    private let inputs: [Int]

    /// - Parameters:
    ///   - width: of the speech tower
    ///   - group: positions that are concatenated to one token
    ///   - hidden: width of the language model
    init(seed: UInt64, width: Int, group: Int, hidden: Int) {
        self.seed = seed
        let inner = SpeechProjector.publishedInner
        let layers = [("linear1", inner, width * group), ("linear2", hidden, inner)]
        tensors = layers.flatMap { name, outputs, inputs in
            [
                TensorSpec(name: name + ".weight", type: .bfloat16, shape: [outputs, inputs]),
                TensorSpec(name: name + ".bias", type: .bfloat16, shape: [outputs]),
            ]
        }
        inputs = layers.flatMap { [$0.2, $0.2] }
    }

    /// Calls `body` with the BF16 bytes of each tensor in turn.
    func forEachTensor(_ body: (TensorSpec, UnsafeRawBufferPointer) throws -> Void) throws {
        for (spec, inputs) in zip(tensors, inputs) {
            let count = try FloatStorage.count(of: spec.shape)
            var generator = UniformGenerator(seed: seed, name: spec.name)
            let bound = 1 / Float(inputs).squareRoot()
            let values = try Tensor([count]) { values in
                for index in 0..<count { values[index] = generator.next() * bound }
            }
            let bytes = try FloatStorage(count: (count + 1) / 2)
            try values.store(as: .bfloat16, to: UnsafeMutableRawPointer(bytes.base))
            try body(spec, UnsafeRawBufferPointer(start: bytes.base, count: count * 2))
        }
    }
}
