import Glibc
import LyraBase
import LyraTensor

/// Qwen2-VL's vision transformer (arXiv 2409.12191): patches of 14 × 14 pixels and two frames, 2-D rotary positions,
/// attention within each pair of frames, and a merger that makes one token of 2 × 2 patches.
public struct VisionEncoder: Sendable {
    public let configuration: VisionConfiguration
    private let patchEmbedding: Weight
    private let blocks: [Block]
    private let mergerNorm: LayerNorm
    private let merger1: Linear
    private let merger2: Linear

    init(_ source: any WeightSource, _ configuration: VisionConfiguration, progress: () throws -> Void) throws {
        self.configuration = configuration
        let width = configuration.width, merged = configuration.mergedWidth
        patchEmbedding = try source.weight(
            "patch_embed.proj.weight",
            [width, 3, configuration.temporalPatch, configuration.patch, configuration.patch])
        blocks = try (0..<configuration.layers).map { layer in
            try progress()
            return try Block(source.under("blocks.\(layer)."), configuration)
        }
        mergerNorm = try LayerNorm(source, "merger.ln_q", width, epsilon: 1e-6)
        merger1 = try Linear(source, "merger.mlp.0", merged, merged, bias: true)
        merger2 = try Linear(source, "merger.mlp.2", configuration.outputWidth, merged, bias: true)
    }

    /// Rows of one step at most: enough to keep the matrix kernels busy, few enough that a step stays short.
    private var chunkRows = 1024

    /// The same, stepping over other numbers of rows.
    func withChunks(ofRows rows: Int) -> VisionEncoder {
        var copy = self
        copy.chunkRows = max(rows, 1)
        return copy
    }

    /// A picture or video on its way through the encoder, a chunk of rows at a time, so that a caller can stop between two.
    ///
    /// What it holds is bounded by the picture: the hidden state of every patch, and the keys and values of one frame pair.
    public struct Run {
        fileprivate enum Stage {
            case embed
            case block(Int)
            case merge
        }

        fileprivate let time: Int
        /// Cosines and sines of one frame's positions, [rows of a frame, headDim / 2].
        fileprivate let rotation: (cos: Tensor, sin: Tensor)
        /// The patches until they are embedded, then the hidden state. [t · h · w, …]
        fileprivate var input: Tensor
        fileprivate var hidden: Tensor
        fileprivate var tokens: Tensor
        fileprivate var stage = Stage.embed
        fileprivate var frame = 0
        fileprivate var chunk = 0
        /// Keys and values of the frame, [rows of a frame, 2 · width]; filled before its first rows leave a block.
        fileprivate var keysValues: Tensor?
        fileprivate var filled = 0
        fileprivate let chunks: [Range<Int>]
        /// Steps done, and in all.
        public fileprivate(set) var progress: (done: Int, total: Int)
    }

    /// Begins with the patches of a picture or a video.
    ///
    /// - Parameters:
    ///   - patches: [t · h · w, 3 · temporalPatch · patch²], the rows of each frame pair in windows of the merge
    ///   - grid: frame pairs, and patches down and across
    public func begin(patches: Tensor, grid: (time: Int, height: Int, width: Int)) throws -> Run {
        let merge = configuration.merge
        let (frame, overflow) = grid.height.multipliedReportingOverflow(by: grid.width)
        let (all, tooMany) = frame.multipliedReportingOverflow(by: grid.time)
        guard grid.time > 0, grid.height > 0, grid.width > 0, grid.height % merge == 0, grid.width % merge == 0,
            !overflow, !tooMany, patches.shape == [all, patchEmbedding.inputs]
        else {
            throw LyraError(
                .format,
                "patches of shape \(patches.shape) do not fit a vision tower that takes [t · h · w, \(patchEmbedding.inputs)] "
                    + "with (t, h, w) = (\(grid.time), \(grid.height), \(grid.width))")
        }
        let pieces = (frame + chunkRows - 1) / chunkRows
        let chunks = (0..<pieces).map { $0 * frame / pieces..<($0 + 1) * frame / pieces }
        let total = grid.time * pieces * (2 * blocks.count + 2)
        return Run(
            time: grid.time, rotation: try rotation(height: grid.height, width: grid.width), input: patches,
            hidden: try Tensor(zeros: [patches.rows, configuration.width]),
            tokens: try Tensor(zeros: [patches.rows / (merge * merge), configuration.outputWidth]), chunks: chunks,
            progress: (0, total))
    }

    /// Computes one chunk of one layer. → the tokens [t · h · w / merge², outputWidth] after the last, nil before.
    public func step(_ run: inout Run) throws -> Tensor? {
        let frameRows = run.rotation.cos.rows
        switch run.stage {
        case .embed:
            let rows = frameRows * run.frame
            let range = run.chunks[run.chunk].offset(by: rows)
            let embedded = try patchEmbedding.multiply(run.input.rows(range))
            try run.hidden.replace(rowsFrom: range.lowerBound, with: embedded)
            if run.advance() {
                run.input = run.input.rows(0..<0)
                run.stage = blocks.isEmpty ? .merge : .block(0)
            }
        case .block(let layer):
            try step(&run, layer, first: frameRows * run.frame)
        case .merge:
            try merge(&run, first: frameRows * run.frame)
            if run.advance() { return run.tokens }
        }
        run.progress.done += 1
        return nil
    }

    /// One chunk of one layer: first all keys and values of the frame, then row by row the rest.
    private func step(_ run: inout Run, _ layer: Int, first: Int) throws {
        let block = blocks[layer], frameRows = run.rotation.cos.rows
        if run.filled < frameRows {
            let range = run.chunks[run.chunk]
            let new = try block.keysValues(run.hidden.rows(range.offset(by: first)), rotation: run.rotation(range))
            var all = try run.keysValues ?? Tensor(zeros: [frameRows, new.columns])
            run.keysValues = nil  // held once while it is written
            try all.replace(rowsFrom: range.lowerBound, with: new)
            run.keysValues = all
            run.filled = range.upperBound
            run.chunk = run.filled < frameRows ? run.chunk + 1 : 0
            return
        }
        guard let keysValues = run.keysValues else { return }
        let range = run.chunks[run.chunk]
        // No view of the rows outlives the call: the hidden state is then written in place.
        let result = try block(
            run.hidden.rows(range.offset(by: first)), rotation: run.rotation(range), keysValues: keysValues)
        try run.hidden.replace(rowsFrom: first + range.lowerBound, with: result)
        if run.chunk + 1 == run.chunks.count { run.filled = 0 }
        if run.advance() {
            run.stage = layer + 1 < blocks.count ? .block(layer + 1) : .merge
            if layer + 1 == blocks.count { run.keysValues = nil }
        }
    }

    /// Makes tokens of one chunk's share of a frame: 2 × 2 patches are neighbours in the rows.
    private func merge(_ run: inout Run, first: Int) throws {
        let group = configuration.merge * configuration.merge
        let tokens = run.rotation.cos.rows / group, pieces = run.chunks.count
        let range = run.chunk * tokens / pieces..<(run.chunk + 1) * tokens / pieces
        let rows = run.hidden.rows(first + range.lowerBound * group..<first + range.upperBound * group)
        let windows = try mergerNorm(rows).reshaped([range.count, configuration.mergedWidth])
        let merged = try merger2(merger1.gelu(windows))
        try run.tokens.replace(rowsFrom: first / group + range.lowerBound, with: merged)
    }

    /// Cosines and sines for the rows of one frame: half of the frequencies follow a patch's row, half its column.
    private func rotation(height: Int, width: Int) throws -> (cos: Tensor, sin: Tensor) {
        let merge = configuration.merge, half = configuration.headDim / 2, quarter = half / 2
        let frequencies = (0..<quarter).map { 1 / powf(10_000, Float(2 * $0) / Float(half)) }
        let angles = try Tensor([height * width, half]) { out in
            var row = out
            for top in stride(from: 0, to: height, by: merge) {
                try Interruption.check()
                for left in stride(from: 0, to: width, by: merge) {
                    for y in top..<top + merge {
                        for x in left..<left + merge {
                            for (pair, frequency) in frequencies.enumerated() {
                                row[pair] = Float(y) * frequency
                                row[quarter + pair] = Float(x) * frequency
                            }
                            row += half
                        }
                    }
                }
            }
        }
        return (try angles.mapped(cosf), try angles.mapped(sinf))
    }

    private struct Block: Sendable {
        let norm1: LayerNorm
        let query: Weight
        let keyValue: Weight
        let queryBias: Tensor
        let keyValueBias: Tensor
        let output: Linear
        let norm2: LayerNorm
        let fc1: Linear
        let fc2: Linear
        let heads: Int
        let precision: Precision

        init(_ source: any WeightSource, _ configuration: VisionConfiguration) throws {
            let width = configuration.width
            heads = configuration.heads
            precision = source.precision
            norm1 = try LayerNorm(source, "norm1", width, epsilon: 1e-6)
            let weight = try source.weight("attn.qkv.weight", [3 * width, width])
            let bias = try source.floats("attn.qkv.bias", [3 * width])
            (query, keyValue) = (try weight.rows(0..<width), try weight.rows(width..<3 * width))
            (queryBias, keyValueBias) = (bias.rows(0..<width), bias.rows(width..<3 * width))
            output = try Linear(source, "attn.proj", width, width, bias: true)
            norm2 = try LayerNorm(source, "norm2", width, epsilon: 1e-6)
            fc1 = try Linear(source, "mlp.fc1", configuration.inner, width, bias: true)
            fc2 = try Linear(source, "mlp.fc2", width, configuration.inner, bias: true)
        }

        /// [rows, width] → rotated keys, and values: [rows, 2 · width]
        func keysValues(_ x: Tensor, rotation: (cos: Tensor, sin: Tensor)) throws -> Tensor {
            try keyValue.multiply(norm1(x), bias: keyValueBias)
                .rotated(cos: rotation.cos, sin: rotation.sin, heads: heads, headDim: x.columns / heads)
        }

        /// [rows, width] → [rows, width]
        func callAsFunction(
            _ x: Tensor, rotation: (cos: Tensor, sin: Tensor), keysValues: Tensor
        ) throws -> Tensor {
            let queries = try query.multiply(norm1(x), bias: queryBias)
                .rotated(cos: rotation.cos, sin: rotation.sin, heads: heads, headDim: x.columns / heads)
            let seen = try queries.attention(over: keysValues, heads: heads, precision: precision)
            var hidden = x
            try output.add(seen, to: &hidden)
            try fc2.add(fc1.quickGelu(norm2(hidden)), to: &hidden)
            return hidden
        }
    }
}

extension VisionEncoder.Run {
    fileprivate func rotation(_ range: Range<Int>) -> (cos: Tensor, sin: Tensor) {
        (rotation.cos.rows(range), rotation.sin.rows(range))
    }

    /// Moves to the next chunk, or the next frame's first. → whether that was the last of all frames
    fileprivate mutating func advance() -> Bool {
        chunk += 1
        guard chunk == chunks.count else { return false }
        (chunk, frame) = (0, frame + 1)
        guard frame == time else { return false }
        frame = 0
        return true
    }
}

extension Range<Int> {
    fileprivate func offset(by distance: Int) -> Range<Int> { lowerBound + distance..<upperBound + distance }
}
