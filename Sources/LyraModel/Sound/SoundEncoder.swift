import Glibc
import LyraBase
import LyraTensor

/// ImageBind's audio branch (arXiv 2305.05665): a transformer over patches of a clip's mel spectrogram that gives one vector
/// for each clip.
///
/// Tensors are named as in imagebind_huge.pth; sizes follow from their shapes. Every published one has heads of 64.
public struct SoundEncoder: Sendable {
    /// Width of what comes out.
    public let outputWidth: Int
    /// Mel bands and frames of a clip.
    public let clipShape: (bands: Int, frames: Int)

    private static let headDim = 64
    /// Pixels from one patch to the next, which overlap.
    private static let stride = 10

    private let stem: Weight
    private let kernel: Int
    private let stemNorm: LayerNorm
    private let classToken: Tensor
    private let positions: Tensor
    private let blocks: [Block]
    private let headNorm: LayerNorm
    private let head: Weight
    private let scale: Float

    private var width: Int { stem.outputs }
    /// Rows of one clip: a class token, then its patches.
    private var clipRows: Int { positions.count / width }

    /// - Parameter clipShape: what the clips will be
    init(
        _ source: TensorTable, clipShape: (bands: Int, frames: Int), progress: () throws -> Void = {}
    ) throws {
        let prefix = "modality_preprocessors.audio."
        let bounds = Bounds(source.origin)
        func shape(_ name: String, _ axes: Int) throws -> [Int] {
            guard let shape = source.shape(of: name) else {
                throw LyraError(.missing, "\(source.origin): there is no tensor \(name); is it ImageBind?")
            }
            try bounds.require(shape.count == axes, "tensor \(name) has shape \(shape); \(axes) axes were expected")
            return shape
        }
        let stemName = prefix + "rgbt_stem.proj.weight"
        let stemShape = try shape(stemName, 4)
        let (width, kernel) = (stemShape[0], stemShape[2])
        try bounds.check("the sound tower's width", width, 1...1 << 16)
        try bounds.check("the sound tower's kernel", kernel, 1...min(clipShape.bands, clipShape.frames))
        try bounds.require(width % Self.headDim == 0, "a sound tower of width \(width): a multiple of 64 was expected")
        let down = (clipShape.bands - kernel) / Self.stride + 1, across = (clipShape.frames - kernel) / Self.stride + 1
        (self.clipShape, self.kernel) = (clipShape, kernel)
        stem = try source.weight(stemName, [width, 1, kernel, kernel])
        stemNorm = try LayerNorm(source, prefix + "rgbt_stem.norm_layer", width)
        classToken = try source.floats(prefix + "cls_token", [1, 1, width])
        positions = try source.floats(prefix + "pos_embedding_helper.pos_embed", [1, 1 + down * across, width])
        let trunk = "modality_trunks.audio.blocks."
        let layers = (0..<1024).first { source.shape(of: "\(trunk)\($0).mlp.fc1.weight") == nil } ?? 1024
        blocks = try (0..<layers).map {
            try progress()
            let inner = try shape("\(trunk)\($0).mlp.fc1.weight", 2)[0]
            return try Block(source.under("\(trunk)\($0)."), width: width, inner: inner, heads: width / Self.headDim)
        }
        headNorm = try LayerNorm(source, "modality_heads.audio.0", width, epsilon: 1e-6)
        outputWidth = try shape("modality_heads.audio.2.weight", 2)[0]
        head = try source.weight("modality_heads.audio.2.weight", [outputWidth, width])
        let logScale = "modality_postprocessors.audio.1.log_logit_scale"
        let logits = try source.floats(logScale, source.shape(of: logScale) ?? [])
        let logScaleValue = logits.withValues { logits.count == 1 ? $0[0] : .nan }
        guard logScaleValue.isFinite else {
            throw LyraError(.format, "\(source.origin): tensor \(logScale) must be one number")
        }
        scale = min(expf(logScaleValue), 100)
    }

    /// Clips on their way through the encoder, layer by layer, so that a caller can stop between two.
    public struct Run {
        fileprivate var hidden: Tensor
        fileprivate let clips: Int
        fileprivate var layer = 0
    }

    /// - Parameter clips: [clips, bands, frames], normalised log-mel
    public func begin(clips: Tensor) throws -> Run {
        guard clips.shape == [clips.rows, clipShape.bands, clipShape.frames], clips.rows > 0 else {
            throw LyraError(
                .format,
                "clips of shape \(clips.shape) do not fit a sound tower that takes "
                    + "[clips, \(clipShape.bands), \(clipShape.frames)]")
        }
        let patches = try stemNorm(stem.multiply(unfold(clips)))
        let count = clips.rows, rows = clipRows, width = width
        let hidden = try Tensor([count * rows, width]) { out in
            patches.withValues { patches in
                positions.withValues { positions in
                    for clip in 0..<count {
                        let target = out + clip * rows * width
                        classToken.withValues { target.update(from: $0, count: width) }
                        let source = patches + clip * (rows - 1) * width
                        (target + width).update(from: source, count: (rows - 1) * width)
                        for i in 0..<rows * width { target[i] += positions[i] }
                    }
                }
            }
        }
        return Run(hidden: hidden, clips: count)
    }

    /// Computes one layer. → one vector a clip, [clips, outputWidth], after the last, nil before.
    public func step(_ run: inout Run) throws -> Tensor? {
        if run.layer < blocks.count {
            try blocks[run.layer](&run.hidden, clips: run.clips)
            run.layer += 1
            return nil
        }
        let width = width, rows = clipRows
        let classTokens = try Tensor([run.clips, width]) { out in
            run.hidden.withValues { hidden in
                for clip in 0..<run.clips {
                    (out + clip * width).update(from: hidden + clip * rows * width, count: width)
                }
            }
        }
        let scale = scale
        return try head.multiply(headNorm(classTokens)).unitRows().mapped { $0 * scale }
    }

    /// Squares of the spectrogram, side by side. → [clips · patches, kernel²]
    private func unfold(_ clips: Tensor) throws -> Tensor {
        let (bands, frames) = clipShape
        let patches = clipRows - 1, size = kernel * kernel
        return try Tensor([clips.rows * patches, size]) { out in
            var target = out
            try clips.withValues { values in
                for clip in 0..<clips.rows {
                    try Interruption.check()
                    let picture = values + clip * bands * frames
                    for top in Swift.stride(from: 0, through: bands - kernel, by: Self.stride) {
                        for left in Swift.stride(from: 0, through: frames - kernel, by: Self.stride) {
                            for row in 0..<kernel {
                                let source = picture + (top + row) * frames + left
                                target.update(from: source, count: kernel)
                                target += kernel
                            }
                        }
                    }
                }
            }
        }
    }

    private struct Block: Sendable {
        let norm1: LayerNorm
        let queryKeyValue: Weight
        let queryKeyValueBias: Tensor
        /// A key and a value that every clip's rows see besides their own.
        let biasKey: Tensor
        let biasValue: Tensor
        let output: Linear
        let norm2: LayerNorm
        let fc1: Linear
        let fc2: Linear
        let heads: Int
        let precision: Precision

        init(_ source: any WeightSource, width: Int, inner: Int, heads: Int) throws {
            self.heads = heads
            precision = source.precision
            norm1 = try LayerNorm(source, "norm_1", width, epsilon: 1e-6)
            queryKeyValue = try source.weight("attn.in_proj_weight", [3 * width, width])
            queryKeyValueBias = try source.floats("attn.in_proj_bias", [3 * width])
            biasKey = try source.floats("attn.bias_k", [1, 1, width])
            biasValue = try source.floats("attn.bias_v", [1, 1, width])
            output = try Linear(source, "attn.out_proj", width, width, bias: true)
            norm2 = try LayerNorm(source, "norm_2", width, epsilon: 1e-6)
            fc1 = try Linear(source, "mlp.fc1", inner, width, bias: true)
            fc2 = try Linear(source, "mlp.fc2", width, inner, bias: true)
        }

        /// x: [clips · rows, width], which becomes the next layer's
        func callAsFunction(_ x: inout Tensor, clips: Int) throws {
            let qkv = try queryKeyValue.multiply(norm1(x), bias: queryKeyValueBias)
            var attended = try Tensor(zeros: x.shape)
            let rows = x.rows / clips
            for clip in 0..<clips {
                let (queries, keysValues) = try split(qkv.rows(clip * rows..<(clip + 1) * rows))
                let seen = try queries.attention(over: keysValues, heads: heads, precision: precision)
                try attended.replace(rowsFrom: clip * rows, with: seen)
            }
            try output.add(attended, to: &x)
            try fc2.add(fc1.gelu(norm2(x)), to: &x)
        }

        /// [rows, 3 · width] → queries [rows, width]; keys and values with the learned pair after them, [rows + 1, 2 · width]
        private func split(_ qkv: Tensor) throws -> (queries: Tensor, keysValues: Tensor) {
            let width = qkv.columns / 3, rows = qkv.rows
            return try qkv.withValues { values in
                let queries = try Tensor([rows, width]) { out in
                    for row in 0..<rows { (out + row * width).update(from: values + row * 3 * width, count: width) }
                }
                let keysValues = try Tensor([rows + 1, 2 * width]) { out in
                    for row in 0..<rows {
                        (out + row * 2 * width).update(from: values + row * 3 * width + width, count: 2 * width)
                    }
                    let last = out + rows * 2 * width
                    biasKey.withValues { last.update(from: $0, count: width) }
                    biasValue.withValues { (last + width).update(from: $0, count: width) }
                }
                return (queries, keysValues)
            }
        }
    }
}
