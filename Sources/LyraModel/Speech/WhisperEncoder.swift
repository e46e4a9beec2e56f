import LyraBase
import LyraMedia
import LyraTensor

/// The encoder's part of a Whisper config.json.
public struct WhisperConfiguration: Decodable, Sendable {
    public var width: Int
    public var layers: Int
    public var heads: Int
    public var inner: Int
    public var mels: Int
    /// Positions that come out for one window; twice as many mel frames go in.
    public var positions: Int

    enum CodingKeys: String, CodingKey {
        case width = "d_model"
        case layers = "encoder_layers"
        case heads = "encoder_attention_heads"
        case inner = "encoder_ffn_dim"
        case mels = "num_mel_bins"
        case positions = "max_source_positions"
    }

    public init(width: Int, layers: Int, heads: Int, inner: Int, mels: Int, positions: Int) {
        self.width = width
        self.layers = layers
        self.heads = heads
        self.inner = inner
        self.mels = mels
        self.positions = positions
    }

    /// What the shapes of an encoder's tensors say, for a tower without a config.json. Every published Whisper has heads
    /// of 64.
    ///
    /// - Throws: `LyraError.missing` if the shapes do not tell.
    init(shapesOf tower: TensorTable) throws {
        func shape(_ name: String) -> [Int] { tower.shape(of: name) ?? [] }
        let (conv, table, fc1) = (shape("conv1.weight"), shape("embed_positions.weight"), shape("layers.0.fc1.weight"))
        guard conv.count == 3, table.count == 2, fc1.count == 2, conv[0] % 64 == 0 else {
            throw LyraError(
                .missing,
                "\(tower.origin): the speech tower's config.json was not found, and its shapes do not tell what it is")
        }
        let layers = (0..<1024).first { tower.shape(of: "layers.\($0).fc1.weight") == nil } ?? 1024
        self.init(
            width: conv[0], layers: layers, heads: conv[0] / 64, inner: fc1[0], mels: conv[1], positions: table[0])
        try validate(tower.origin)
    }

    func validate(_ source: String) throws {
        let bounds = Bounds(source)
        try bounds.check("d_model", width, 1...1 << 16)
        try bounds.check("encoder_layers", layers, 1...1024)
        try bounds.check("encoder_attention_heads", heads, 1...4096)
        try bounds.check("encoder_ffn_dim", inner, 1...1 << 20)
        try bounds.check("num_mel_bins", mels, 1...4096)
        try bounds.check("max_source_positions", positions, 1...1 << 20)
        try bounds.require(width % heads == 0, "d_model must be a multiple of encoder_attention_heads")
    }
}

/// Whisper's encoder (arXiv 2212.04356): two convolutions over the mel spectrogram, learned positions, pre-norm layers.
public struct WhisperEncoder: Sendable {
    public let configuration: WhisperConfiguration
    private let conv1: Linear
    private let conv2: Linear
    private let positions: Tensor
    private let blocks: [Block]
    private let finalNorm: LayerNorm

    init(_ source: any WeightSource, _ configuration: WhisperConfiguration, progress: () throws -> Void) throws {
        let width = configuration.width
        self.configuration = configuration
        conv1 = try Linear(convolution: source, "conv1", width, configuration.mels)
        conv2 = try Linear(convolution: source, "conv2", width, width)
        positions = try source.floats("embed_positions.weight", [configuration.positions, width])
        blocks = try (0..<configuration.layers).map { layer in
            try progress()
            return try Block(source.under("layers.\(layer)."), configuration)
        }
        finalNorm = try LayerNorm(source, "layer_norm", width)
    }

    /// One window on its way through the encoder, layer by layer, so that a caller can stop between two.
    public struct Run {
        fileprivate var hidden: Tensor
        fileprivate var layer = 0
    }

    /// Begins with a window's features.
    ///
    /// - Parameter mel: [mels, 2 · positions]
    public func begin(mel: Tensor) throws -> Run {
        guard mel.shape == [configuration.mels, 2 * configuration.positions] else {
            throw LyraError(
                .format,
                "features of shape \(mel.shape) do not fit a speech tower that takes "
                    + "[\(configuration.mels), \(2 * configuration.positions)]: check preprocessor_config.json")
        }
        let wide = try conv1.gelu(unfold(mel, channelStride: mel.columns, frameStride: 1, stride: 1))
        var x = try conv2.gelu(unfold(wide, channelStride: 1, frameStride: wide.columns, stride: 2))
        let count = x.count
        try x.withMutableValues { values in
            positions.withValues { positions in for i in 0..<count { values[i] += positions[i] } }
        }
        return Run(hidden: x)
    }

    /// Computes one layer. → the encoder's output [positions, width] after the last, nil before.
    public func step(_ run: inout Run) throws -> Tensor? {
        if run.layer < blocks.count {
            try blocks[run.layer](&run.hidden)
            run.layer += 1
        }
        return run.layer == blocks.count ? try finalNorm(run.hidden) : nil
    }

    /// The frames that a kernel of 3 with padding 1 sees, side by side. → [frames / stride, channels · 3]
    private func unfold(_ x: Tensor, channelStride: Int, frameStride: Int, stride: Int) throws -> Tensor {
        let channels = channelStride == 1 ? x.columns : x.rows
        let frames = x.count / channels
        let rows = (frames + stride - 1) / stride
        return try Tensor([rows, channels * 3]) { out in
            try x.withValues { values in
                for row in 0..<rows {
                    if row % 64 == 0 { try Interruption.check() }
                    let target = out + row * channels * 3
                    for tap in 0..<3 {
                        let frame = row * stride + tap - 1
                        for channel in 0..<channels {
                            target[channel * 3 + tap] =
                                frame >= 0 && frame < frames
                                ? values[channel * channelStride + frame * frameStride] : 0
                        }
                    }
                }
            }
        }
    }

    private struct Block: Sendable {
        let attentionNorm: LayerNorm
        let query: Linear
        let key: Linear
        let value: Linear
        let output: Linear
        let heads: Int
        let precision: Precision
        let finalNorm: LayerNorm
        let fc1: Linear
        let fc2: Linear

        init(_ source: any WeightSource, _ configuration: WhisperConfiguration) throws {
            let width = configuration.width
            heads = configuration.heads
            precision = source.precision
            attentionNorm = try LayerNorm(source, "self_attn_layer_norm", width)
            query = try Linear(source, "self_attn.q_proj", width, width, bias: true)
            key = try Linear(source, "self_attn.k_proj", width, width, bias: false)
            value = try Linear(source, "self_attn.v_proj", width, width, bias: true)
            output = try Linear(source, "self_attn.out_proj", width, width, bias: true)
            finalNorm = try LayerNorm(source, "final_layer_norm", width)
            fc1 = try Linear(source, "fc1", configuration.inner, width, bias: true)
            fc2 = try Linear(source, "fc2", width, configuration.inner, bias: true)
        }

        /// x: [positions, width], which becomes the next layer's
        func callAsFunction(_ x: inout Tensor) throws {
            let normed = try attentionNorm(x)
            let width = x.columns
            let qkv = try Tensor([x.rows, 3 * width]) { out in
                try Linear.apply([query, key, value], to: normed, into: out, rowStride: 3 * width, adapter: nil)
            }
            try output.add(qkv.selfAttention(heads: heads, precision: precision), to: &x)
            try fc2.add(fc1.gelu(finalNorm(x)), to: &x)
        }
    }
}

extension Linear {
    /// A convolution of kernel 3 as a matrix over unfolded frames: weight [outputs, inputs, 3].
    fileprivate init(convolution source: any WeightSource, _ name: String, _ outputs: Int, _ inputs: Int) throws {
        weight = try source.weight(name + ".weight", [outputs, inputs, 3])
        bias = try source.floats(name + ".bias", [outputs])
    }
}

/// A layer norm with Whisper's epsilon.
struct LayerNorm: Sendable {
    let weight: Tensor
    let bias: Tensor
    let epsilon: Float

    init(_ source: any WeightSource, _ name: String, _ width: Int, epsilon: Float = 1e-5) throws {
        weight = try source.floats(name + ".weight", [width])
        bias = try source.floats(name + ".bias", [width])
        self.epsilon = epsilon
    }

    func callAsFunction(_ x: Tensor) throws -> Tensor {
        try x.layerNormalized(weight: weight, bias: bias, epsilon: epsilon)
    }
}
