import Glibc
import LyraBase
import LyraTensor

/// ImageBind's audio branch (arXiv 2305.05665): a transformer over patches of a clip's mel spectrogram that produces
/// one vector for each clip.
///
/// Tensors are named as in imagebind_huge.pth, and sizes follow from their shapes. In all published checkpoints a head
/// is 64 wide.
public struct SoundEncoder: Sendable {
    /// Width of the output vectors.
    public let outputWidth: Int
    /// Mel bands and frames of a clip.
    public let clipShape: (bands: Int, frames: Int)

    private static let headDim = 64
    /// Distance between the starts of overlapping patches, in pixels.
    private static let stride = 10

    private let stem: Weight
    private let kernel: Int
    private let stemNorm: LayerNorm
    /// [1, 1, width]
    private let classToken: Tensor
    /// [1, clipRows, width]
    private let positions: Tensor
    private let layers: [Layer]
    private let headNorm: LayerNorm
    private let head: Weight
    /// ln of the factor that scales the output vectors; the factor is limited to 100. One number.
    private let logScale: Tensor

    private var width: Int { stem.outputs }
    /// Rows of one clip: a class token, then its patches.
    private var clipRows: Int { positions.count / width }

    /// - Parameter clipShape: mel bands and frames of the clips
    init(
        _ source: TensorTable, clipShape: (bands: Int, frames: Int), progress: () throws -> Void = {}
    ) throws {
        let prefix = "modality_preprocessors.audio."
        let bounds = Bounds(source.origin)
        func shape(_ name: String, _ axes: Int) throws -> [Int] {
            guard let shape = source.shape(of: name) else {
                throw LyraError(.missing, "\(source.origin): there is no tensor \(name); is it ImageBind?")
            }
            try bounds.require(
                shape.count == axes, "tensor \(name) has shape \(shape.prefix(16)); expected \(axes) axes")
            return shape
        }
        let stemName = prefix + "rgbt_stem.proj.weight"
        let stemShape = try shape(stemName, 4)
        let (width, kernel) = (stemShape[0], stemShape[2])
        try bounds.check("the sound tower's width", width, 1...1 << 16)
        try bounds.check("the sound tower's kernel", kernel, 1...min(clipShape.bands, clipShape.frames))
        try bounds.require(
            width % Self.headDim == 0, "the sound tower's width is \(width); it must be a multiple of 64")
        let down = (clipShape.bands - kernel) / Self.stride + 1, across = (clipShape.frames - kernel) / Self.stride + 1
        (self.clipShape, self.kernel) = (clipShape, kernel)
        stem = try source.weight(stemName, [width, 1, kernel, kernel])
        stemNorm = try LayerNorm(source, prefix + "rgbt_stem.norm_layer", width)
        classToken = try source.floats(prefix + "cls_token", [1, 1, width])
        positions = try source.floats(prefix + "pos_embedding_helper.pos_embed", [1, 1 + down * across, width])
        let trunk = "modality_trunks.audio.blocks."
        let layers = (0..<1024).first { source.shape(of: "\(trunk)\($0).mlp.fc1.weight") == nil } ?? 1024
        self.layers = try (0..<layers).map {
            try progress()
            let inner = try shape("\(trunk)\($0).mlp.fc1.weight", 2)[0]
            return try Layer(source.under("\(trunk)\($0)."), width: width, inner: inner, heads: width / Self.headDim)
        }
        headNorm = try LayerNorm(source, "modality_heads.audio.0", width, epsilon: 1e-6)
        outputWidth = try shape("modality_heads.audio.2.weight", 2)[0]
        head = try source.weight("modality_heads.audio.2.weight", [outputWidth, width])
        let scaleShape = source.shape(of: Self.scaleName) ?? []
        try bounds.require(
            scaleShape.allSatisfy { $0 == 1 },
            "tensor \(Self.scaleName) has shape \(scaleShape.prefix(16)); it must be one number")
        logScale = try source.floats(Self.scaleName, scaleShape)
        try bounds.require(
            logScale[0].isFinite, "tensor \(Self.scaleName) is \(logScale[0]); it must be a finite number")
    }

    private static let scaleName = "modality_postprocessors.audio.1.log_logit_scale"

    /// The encoding of a few clips, one layer in each step, so that a caller can stop between layers.
    public struct Encoding {
        fileprivate var hidden: Tensor
        fileprivate let clips: Int
        fileprivate var layer = 0
    }

    /// Starts encoding: a class token and the embedded patches of each clip, plus positions.
    ///
    /// - Parameter clips: [clips, bands, frames], normalised log-mel
    public func begin(clips: Tensor) throws -> Encoding {
        guard clips.shape == [clips.rows, clipShape.bands, clipShape.frames], clips.rows > 0 else {
            throw LyraError(
                .format,
                "clips of shape \(clips.shape) do not fit a sound tower that expects "
                    + "[clips, \(clipShape.bands), \(clipShape.frames)]")
        }
        let patches = try stemNorm(stem.product(clips.unfoldedSquares(kernel: kernel, stride: Self.stride)))
        let perClip = clipRows - 1
        let x = try Tensor.stacking(
            (0..<clips.rows).flatMap { [classToken, patches.rows($0 * perClip..<($0 + 1) * perClip)] })
        return Encoding(hidden: try x.adding(positions.reshaped([clipRows, width])), clips: clips.rows)
    }

    /// Computes one layer. → one vector for each clip, [clips, outputWidth], after the last layer; nil before
    public func step(_ state: inout Encoding) throws -> Tensor? {
        if state.layer < layers.count {
            state.hidden = try layers[state.layer](state.hidden.take(), clips: state.clips)
            state.layer += 1
        }
        guard state.layer == layers.count else { return nil }
        let classTokens = try state.hidden.reshaped([state.clips, clipRows * width]).columns(0..<width)
        return try head.product(headNorm(classTokens)).unitRows().scaled(by: min(expf(logScale[0]), 100))
    }

    /// One vector for each clip, in one call. [clips, bands, frames] → [clips, outputWidth]
    package func callAsFunction(clips: Tensor) throws -> Tensor {
        var encoding = try begin(clips: clips)
        while true {
            if let vectors = try step(&encoding) { return vectors }
        }
    }

    struct Layer: Sendable {
        let attentionNorm: LayerNorm
        let qkv: Linear
        /// A learned key and value that the rows of every clip attend to in addition to their own. [1, 1, width] each
        let biasKey: Tensor
        let biasValue: Tensor
        let output: Linear
        let mlpNorm: LayerNorm
        let fc1: Linear
        let fc2: Linear
        let heads: Int
        let precision: Precision

        init(_ source: any WeightSource, width: Int, inner: Int, heads: Int) throws {
            self.heads = heads
            precision = source.precision
            attentionNorm = try LayerNorm(source, "norm_1", width, epsilon: 1e-6)
            qkv = try Linear(source, prefix: "attn.in_proj_", [3 * width, width], bias: true)
            biasKey = try source.floats("attn.bias_k", [1, 1, width])
            biasValue = try source.floats("attn.bias_v", [1, 1, width])
            output = try Linear(source, "attn.out_proj", width, width, bias: true)
            mlpNorm = try LayerNorm(source, "norm_2", width, epsilon: 1e-6)
            fc1 = try Linear(source, "mlp.fc1", inner, width, bias: true)
            fc2 = try Linear(source, "mlp.fc2", width, inner, bias: true)
        }

        /// h = x + attention(norm(x)) within each clip, over its keys and values and the learned ones; then
        /// h + fc2(gelu(fc1(norm(h)))).
        ///
        /// [clips · rows, width] → [clips · rows, width]
        func callAsFunction(_ x: consuming Tensor, clips: Int) throws -> Tensor {
            let width = x.columns, rows = x.rows / clips
            let projected = try qkv(attentionNorm(x))
            let attended = try (0..<clips).map { clip in
                let split = try projected.rows(clip * rows..<(clip + 1) * rows).split(columns: [width, width, width])
                return try attention(
                    split[0], keys: Tensor.stacking([split[1], biasKey]),
                    values: Tensor.stacking([split[2], biasValue]),
                    heads: heads, precision: precision)
            }
            let h = try output(Tensor.stacking(attended), addedTo: x)
            let inner = try fc1(mlpNorm(h), activation: .gelu)
            return try fc2(inner, addedTo: consume h)
        }
    }
}

extension SoundEncoder: Parameterized {
    public var parameters: [Parameter] {
        let prefix = "modality_preprocessors.audio."
        return [Parameter(prefix + "rgbt_stem.proj.weight", stem, shape: [width, 1, kernel, kernel])]
            + stemNorm.parameters(under: prefix + "rgbt_stem.norm_layer")
            + [
                Parameter(prefix + "cls_token", classToken),
                Parameter(prefix + "pos_embedding_helper.pos_embed", positions),
            ]
            + layers.parameters(under: "modality_trunks.audio.blocks")
            + headNorm.parameters(under: "modality_heads.audio.0")
            + [Parameter("modality_heads.audio.2.weight", head), Parameter(Self.scaleName, logScale)]
    }
}

extension SoundEncoder.Layer: Parameterized {
    var parameters: [Parameter] {
        attentionNorm.parameters(under: "norm_1")
            + [Parameter("attn.in_proj_weight", qkv.weight)]
            + (qkv.bias.map { [Parameter("attn.in_proj_bias", $0)] } ?? [])
            + [Parameter("attn.bias_k", biasKey), Parameter("attn.bias_v", biasValue)]
            + output.parameters(under: "attn.out_proj") + mlpNorm.parameters(under: "norm_2")
            + fc1.parameters(under: "mlp.fc1") + fc2.parameters(under: "mlp.fc2")
    }
}
