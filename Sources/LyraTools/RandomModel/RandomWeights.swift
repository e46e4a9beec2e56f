import LyraBase
import LyraModel
import LyraTensor

/// Random weights in place of a file's tensors: every tensor that a network requests exists, in the requested shape.
///
/// Standard deviations follow common initializations, so that signals neither vanish nor grow through many layers.
/// Attention is sharpened, so that an answer depends on the media. For benchmarks and test checkpoints.
public final class RandomWeights: WeightSource {
    public let origin = "random weights"
    public let precision: Precision
    private let seed: UInt64
    private let type: ElementType
    /// The requested tensors, in order; empty unless they are recorded.
    private(set) var requested: [StoredTensor] = []
    private let recordsRequests: Bool
    /// The numbers of training's start in place of random ones.
    private let values: InitialValues?

    /// - Parameters:
    ///   - type: F32, F16, BF16, or a quantized type for the matrices whose rows its blocks fill; all else is then F32
    ///   - recordsRequests: whether `requested` lists the tensors
    public init(seed: UInt64, type: ElementType, precision: Precision = .exact, recordsRequests: Bool = false) {
        self.seed = seed
        self.precision = precision
        self.type = type
        self.recordsRequests = recordsRequests
        values = nil
    }

    /// The weights, in F32, with which a part's training from nothing starts.
    ///
    /// - Parameter recordsRequests: whether `requested` lists the tensors, which keeps them in memory
    init(_ values: InitialValues, precision: Precision = .exact, recordsRequests: Bool = true) {
        (seed, type, self.precision, self.recordsRequests) = (values.seed, .float32, precision, recordsRequests)
        self.values = values
    }

    /// Weight norm is already folded, so its factors do not exist.
    public func contains(_ name: String) -> Bool { !name.hasSuffix("weight_g") && !name.hasSuffix("weight_v") }

    public func tensor(_ name: String, _ shape: [Int]) throws -> StoredTensor {
        let count = try FloatStorage.count(of: shape)
        let isQuantized = type.blockElements > 1
        let type = !isQuantized || (shape.count == 2 && type.canPack(inputs: shape[1])) ? type : .float32
        let byteCount = count / type.blockElements * type.size
        let storage = try FloatStorage(count: (byteCount + 3) / 4)
        try fill(UnsafeMutableRawPointer(storage.base), byteCount, type, name, shape)
        let bytes = UnsafeRawBufferPointer(start: storage.base, count: byteCount)
        let tensor = StoredTensor(name: name, type: type, shape: shape, bytes: bytes, owner: storage, source: origin)
        if recordsRequests { requested.append(tensor) }
        return tensor
    }

    /// The numbers of a tensor repeat after this many, a multiple of every quantization block, because generating
    /// billions would take longer than running the network.
    private static let period = 1 << 16

    private func fill(
        _ memory: UnsafeMutableRawPointer, _ byteCount: Int, _ type: ElementType, _ name: String, _ shape: [Int]
    ) throws {
        if let values { return try values(name, shape).store(as: type, to: memory) }
        let (mean, deviation) = RandomWeights.distribution(name, shape)
        var state = stableHash(name, seed: seed)
        let count = min(byteCount / type.size * type.blockElements, Self.period)
        let numbers = try Tensor([count]) { numbers in
            for i in 0..<count {
                state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
                // The width of a uniform distribution is √12 standard deviations.
                let uniform = Float(Int32(truncatingIfNeeded: state >> 32)) * Float(0x1p-32)
                numbers[i] = mean + uniform * 3.464_101_6 * deviation
            }
        }
        try numbers.store(as: type, to: memory)
        let first = count / type.blockElements * type.size
        for start in stride(from: first, to: byteCount, by: max(first, 1)) {
            (memory + start).copyMemory(from: memory, byteCount: min(first, byteCount - start))
        }
    }

    /// Mean and standard deviation, by a tensor's name.
    private static func distribution(_ name: String, _ shape: [Int]) -> (Float, Float) {
        if name.hasSuffix("log_logit_scale") { return (2.995_732_3, 0) }  // ln 20
        let fan = Float(max(shape.dropFirst().reduce(1, *), 1))
        if name.hasSuffix("dur_predictor.proj.bias") { return (1.1, 0) }
        if shape.count == 1 { return (name.hasSuffix("bias") ? 0 : 1, 0.1) }
        if name.hasSuffix("embed_tokens.weight") { return (0, 0.15) }
        if name.hasSuffix("embed_positions.weight") { return (0, 0.1) }
        if name.hasSuffix("pos_embed") || name.hasSuffix("cls_token") { return (0, 0.2) }
        if name.hasSuffix("attn.qkv.weight") || name.hasSuffix("in_proj_weight") { return (0, 2 / fan.squareRoot()) }
        if name.hasSuffix("attn.bias_k") || name.hasSuffix("attn.bias_v") { return (0, 0.5) }
        if name.hasSuffix("mm_audio_projector.weight") { return (0, 1.5 / fan.squareRoot()) }
        if name.hasSuffix("dict.weight") { return (0, 1) }
        if name.hasSuffix("dur_predictor.proj.weight") { return (0, 0.15) }
        if name.hasSuffix("lora_B.weight") { return (0, 0.3 / fan.squareRoot()) }
        // A transposed convolution of stride s sums 1 / s of its taps; HiFi-GAN's kernels are about 2 · s long.
        if name.hasPrefix("ups.") { return (0, (0.6 * 2 / Float(shape[0] * 2)).squareRoot() / 1.4) }
        if name.hasPrefix("resblocks.") || name.hasPrefix("conv_p") { return (0, (0.6 / fan).squareRoot()) }
        if name.hasSuffix("q_proj.weight") || name.hasSuffix("k_proj.weight") { return (0, 2.5 / fan.squareRoot()) }
        if name.hasSuffix("output_proj.weight") { return (0, 2 / fan.squareRoot()) }
        if name.hasSuffix("linear2.weight") { return (0, (2 / fan).squareRoot()) }
        return (0, 1 / fan.squareRoot())
    }
}
