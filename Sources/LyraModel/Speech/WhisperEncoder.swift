import LyraBase
import LyraMedia
import LyraTensor

/// The encoder's keys of a Whisper config.json.
public struct WhisperConfiguration: Decodable, Sendable {
    public var width: Int
    public var layers: Int
    public var heads: Int
    public var inner: Int
    public var mels: Int
    /// Output positions for one window; half the number of mel frames.
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

    /// Derives the configuration of a tower without a config.json from its tensor shapes. In all published Whisper
    /// models a head is 64 wide.
    ///
    /// - Throws: `LyraError.missing` if the shapes are not sufficient.
    init(shapesOf tower: TensorTable) throws {
        func shape(_ name: String) -> [Int] { tower.shape(of: name) ?? [] }
        let (conv, table, fc1) = (shape("conv1.weight"), shape("embed_positions.weight"), shape("layers.0.fc1.weight"))
        guard conv.count == 3, table.count == 2, fc1.count == 2, conv[0] % 64 == 0 else {
            throw LyraError(
                .missing,
                "\(tower.origin): the speech tower's config.json was not found, and the tensor shapes do not "
                    + "determine it")
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
    private let layers: [Layer]
    private let finalNorm: LayerNorm

    private static let kernel = 3

    package init(
        _ source: any WeightSource, _ configuration: WhisperConfiguration, progress: () throws -> Void = {}
    ) throws {
        let width = configuration.width
        self.configuration = configuration
        conv1 = try Linear(source, prefix: "conv1.", [width, configuration.mels, Self.kernel], bias: true)
        conv2 = try Linear(source, prefix: "conv2.", [width, width, Self.kernel], bias: true)
        positions = try source.floats("embed_positions.weight", [configuration.positions, width])
        layers = try (0..<configuration.layers).map { layer in
            try progress()
            return try Layer(source.under("layers.\(layer)."), configuration)
        }
        finalNorm = try LayerNorm(source, "layer_norm", width)
    }

    /// The encoding of one window, one layer in each step, so that a caller can stop between layers.
    public struct Encoding {
        /// The hidden states between two layers, without the final norm. [positions, width]
        package fileprivate(set) var hidden: Tensor
        fileprivate var layer = 0
        /// The rows of each window; nil for one window.
        fileprivate var segments: [AttentionSegment]?
        fileprivate var recomputesLayers = false
    }

    /// Starts encoding a window: x = gelu(conv2(gelu(conv1(mel)))) + positions.
    ///
    /// - Parameter mel: [mels, 2 · positions]
    public func begin(mel: Tensor) throws -> Encoding {
        try check(mel)
        let frames = try conv1(mel.transposed().unfoldedRows(kernel: Self.kernel, stride: 1), activation: .gelu)
        let x = try conv2(frames.unfoldedRows(kernel: Self.kernel, stride: 2), activation: .gelu)
        return Encoding(hidden: try x.adding(positions))
    }

    private func check(_ mel: Tensor) throws {
        guard mel.shape == [configuration.mels, 2 * configuration.positions] else {
            throw LyraError(
                .format,
                "features of shape \(mel.shape) do not fit a speech tower that expects "
                    + "[\(configuration.mels), \(2 * configuration.positions)]: check preprocessor_config.json")
        }
    }

    /// Starts encoding several windows together: their rows follow one another. A small tower is trained faster so.
    private func begin(mels: [Tensor]) throws -> Encoding {
        guard mels.count != 1 else { return try begin(mel: mels[0]) }
        let unfolded = try mels.map { mel in
            try check(mel)
            return try mel.transposed().unfoldedRows(kernel: Self.kernel, stride: 1)
        }
        let frames = try conv1(.stacking(unfolded), activation: .gelu)  // [windows · 2 · positions, width]
        let rows = configuration.positions
        let halved = try mels.indices.map {
            try frames.rows(2 * rows * $0..<2 * rows * ($0 + 1)).unfoldedRows(kernel: Self.kernel, stride: 2)
        }
        let x = try conv2(.stacking(halved), activation: .gelu)
        let segments = mels.indices.map { rows * $0..<rows * ($0 + 1) }.map { AttentionSegment(queries: $0, keys: $0) }
        return Encoding(hidden: try x.adding(positions), segments: segments)
    }

    /// Computes one layer. → the encoder's output [positions, width] after the last layer; nil before
    public func step(_ state: inout Encoding) throws -> Tensor? {
        if state.layer < layers.count {
            let layer = layers[state.layer], x = state.hidden.take(), segments = state.segments
            state.hidden =
                state.recomputesLayers
                ? try recomputing([x]) { try layer($0[0], segments: segments) } : try layer(x, segments: segments)
            state.layer += 1
        }
        return state.layer == layers.count ? try finalNorm(state.hidden) : nil
    }

    /// The encoder's output for a window, in one call. [mels, 2 · positions] → [positions, width]
    ///
    /// - Parameter recomputesLayers: whether only the layers' inputs stay in memory until the gradient is computed
    package func callAsFunction(mel: Tensor, recomputesLayers: Bool = false) throws -> Tensor {
        try self(mels: [mel], recomputesLayers: recomputesLayers)
    }

    /// The same for several windows, one after the other: [windows · positions, width]
    package func callAsFunction(mels: [Tensor], recomputesLayers: Bool = false) throws -> Tensor {
        var encoding = try begin(mels: mels)
        encoding.recomputesLayers = recomputesLayers
        while true {
            if let output = try step(&encoding) { return output }
        }
    }

    struct Layer: Sendable {
        let attentionNorm: LayerNorm
        let query: Linear
        let key: Linear
        let value: Linear
        let output: Linear
        let mlpNorm: LayerNorm
        let fc1: Linear
        let fc2: Linear
        let heads: Int
        let precision: Precision

        init(_ source: any WeightSource, _ configuration: WhisperConfiguration) throws {
            let width = configuration.width
            heads = configuration.heads
            precision = source.precision
            attentionNorm = try LayerNorm(source, "self_attn_layer_norm", width)
            query = try Linear(source, "self_attn.q_proj", width, width, bias: true)
            key = try Linear(source, "self_attn.k_proj", width, width, bias: false)
            value = try Linear(source, "self_attn.v_proj", width, width, bias: true)
            output = try Linear(source, "self_attn.out_proj", width, width, bias: true)
            mlpNorm = try LayerNorm(source, "final_layer_norm", width)
            fc1 = try Linear(source, "fc1", configuration.inner, width, bias: true)
            fc2 = try Linear(source, "fc2", width, configuration.inner, bias: true)
        }

        /// h = x + attention(norm(x)), then h + fc2(gelu(fc1(norm(h)))). [positions, width] → [positions, width]
        ///
        /// - Parameter segments: rows that attend to each other; nil for all
        func callAsFunction(_ x: consuming Tensor, segments: [AttentionSegment]? = nil) throws -> Tensor {
            let width = x.columns
            let qkv = try [query, key, value].sideBySide(attentionNorm(x)).split(columns: [width, width, width])
            let attended =
                if let segments {
                    try attention(
                        qkv[0], keys: qkv[1], values: qkv[2], heads: heads, segments: segments, isCausal: false,
                        precision: precision)
                } else {
                    try attention(qkv[0], keys: qkv[1], values: qkv[2], heads: heads, precision: precision)
                }
            let h = try output(attended, addedTo: x)
            let inner = try fc1(mlpNorm(h), activation: .gelu)
            return try fc2(inner, addedTo: consume h)
        }
    }
}

extension WhisperEncoder: Parameterized {
    public var parameters: [Parameter] {
        conv1.parameters(under: "conv1") + conv2.parameters(under: "conv2")
            + [Parameter("embed_positions.weight", positions)]
            + layers.parameters(under: "layers") + finalNorm.parameters(under: "layer_norm")
    }
}

extension WhisperEncoder.Layer: Parameterized {
    var parameters: [Parameter] {
        attentionNorm.parameters(under: "self_attn_layer_norm") + query.parameters(under: "self_attn.q_proj")
            + key.parameters(under: "self_attn.k_proj") + value.parameters(under: "self_attn.v_proj")
            + output.parameters(under: "self_attn.out_proj") + mlpNorm.parameters(under: "final_layer_norm")
            + fc1.parameters(under: "fc1") + fc2.parameters(under: "fc2")
    }
}
