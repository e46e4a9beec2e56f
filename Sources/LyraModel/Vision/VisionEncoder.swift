import Glibc
import LyraBase
import LyraTensor

/// Qwen2-VL's vision transformer (arXiv 2409.12191): patches of 14 × 14 pixels and two frames, 2-D RoPE, attention
/// within each pair of frames, and a merger that combines 2 × 2 patches into one token.
public struct VisionEncoder: Sendable {
    public let configuration: VisionConfiguration
    private let patchEmbedding: Weight
    /// [width, 3, temporalPatch, patch, patch]
    private let patchShape: [Int]
    private let layers: [VisionLayer]
    private let merger: VisionMerger

    package init(
        _ source: any WeightSource, _ configuration: VisionConfiguration, progress: () throws -> Void = {}
    ) throws {
        self.configuration = configuration
        patchShape = [
            configuration.width, 3, configuration.temporalPatch, configuration.patch, configuration.patch,
        ]
        patchEmbedding = try source.weight("patch_embed.proj.weight", patchShape)
        layers = try (0..<configuration.layers).map { layer in
            try progress()
            return try VisionLayer(source.under("blocks.\(layer)."), configuration)
        }
        merger = try VisionMerger(source.under("merger."), configuration)
    }

    /// Maximum rows of one step: enough to keep the matrix kernels busy, few enough for short steps.
    private var chunkRows = 1024

    /// The same encoder with another chunk size.
    func withChunks(ofRows rows: Int) -> VisionEncoder {
        var copy = self
        copy.chunkRows = max(rows, 1)
        return copy
    }

    /// The encoding of an image or video, one chunk of rows in each step, so that a caller can stop between chunks.
    ///
    /// Memory grows with the image: its patches until they are embedded, the hidden states of all patches, and the
    /// keys and values of one frame pair.
    public struct Encoding {
        fileprivate let steps: VisionSteps
        fileprivate var next = 0
        fileprivate var recomputesLayers = false
        /// The rotation for the positions of one frame pair.
        fileprivate let rotation: Rotation
        /// [t · h · w, 3 · temporalPatch · patch²]; empty after embedding.
        fileprivate var patches: Tensor
        /// [t · h · w, width]
        fileprivate var hidden: Tensor
        /// Keys and values of the current frame pair, [h · w, 2 · width].
        fileprivate var keysValues: Tensor
        /// [t · h · w / merge², outputWidth]
        fileprivate var tokens: Tensor

        /// Steps done, and in total; equal after the last.
        public var progress: (done: Int, total: Int) { (next, steps.count) }
    }

    /// Starts encoding an image or video.
    ///
    /// - Parameters:
    ///   - patches: [t · h · w, 3 · temporalPatch · patch²], the rows of each frame pair grouped into merge × merge
    ///     squares
    ///   - grid: number of frame pairs, and of patches down and across
    public func begin(patches: Tensor, grid: (time: Int, height: Int, width: Int)) throws -> Encoding {
        let merge = configuration.merge, pairRows = try pairRows(of: patches, grid: grid)
        return Encoding(
            steps: VisionSteps(
                pairs: grid.time, pairRows: pairRows, chunkRows: chunkRows, layers: layers.count, group: merge * merge),
            rotation: try rotation(height: grid.height, width: grid.width), patches: patches,
            hidden: try Tensor(zeros: [patches.rows, configuration.width]),
            keysValues: try Tensor(zeros: [pairRows, 2 * configuration.width]),
            tokens: try Tensor(zeros: [patches.rows / (merge * merge), configuration.outputWidth]))
    }

    /// Checks that patches fit the tower and their grid. → the rows of one frame pair
    private func pairRows(of patches: Tensor, grid: (time: Int, height: Int, width: Int)) throws -> Int {
        let merge = configuration.merge
        guard grid.time > 0, grid.height > 0, grid.width > 0, grid.height % merge == 0, grid.width % merge == 0,
            let pairRows = grid.height.checkedMultiplying(by: grid.width),
            let all = pairRows.checkedMultiplying(by: grid.time), patches.shape == [all, patchEmbedding.inputs]
        else {
            throw LyraError(
                .format,
                "patches of shape \(patches.shape) do not fit a vision tower that expects [t · h · w, "
                    + "\(patchEmbedding.inputs)] with (t, h, w) = (\(grid.time), \(grid.height), \(grid.width))")
        }
        return pairRows
    }

    /// Computes one step. → the tokens [t · h · w / merge², outputWidth] after the last step; nil before
    public func step(_ state: inout Encoding) throws -> Tensor? {
        guard state.next < state.steps.count else { return state.tokens }
        let step = state.steps[state.next], rows = step.rows, inPair = step.rowsInPair
        switch step.work {
        case .embed:
            try state.hidden.replace(rowsFrom: rows.lowerBound, with: patchEmbedding.product(state.patches.rows(rows)))
        case .keysValues(let layer):
            let new = try layers[layer].keysValues(state.hidden.rows(rows), rotation: state.rotation.rows(inPair))
            try state.keysValues.replace(rowsFrom: inPair.lowerBound, with: new)
        case .layer(let layer):
            let new = try run(
                layers[layer], state.hidden.rows(rows), state.rotation.rows(inPair), state.keysValues,
                recomputes: state.recomputesLayers)
            try state.hidden.replace(rowsFrom: rows.lowerBound, with: new)
        case .merge:
            let group = configuration.merge * configuration.merge
            try state.tokens.replace(rowsFrom: rows.lowerBound / group, with: merger(state.hidden.rows(rows)))
        }
        state.next += 1
        if state.steps.areEmbedded(before: state.next) { _ = state.patches.take() }
        return state.next == state.steps.count ? state.tokens : nil
    }

    private func run(
        _ layer: VisionLayer, _ x: Tensor, _ rotation: Rotation, _ keysValues: Tensor, recomputes: Bool
    ) throws -> Tensor {
        guard recomputes else { return try layer(x, rotation: rotation, keysValues: keysValues) }
        return try recomputing([x, keysValues]) { try layer($0[0], rotation: rotation, keysValues: $0[1]) }
    }

    /// The tokens of an image or video, in one call. → [t · h · w / merge², outputWidth]
    ///
    /// - Parameter recomputesLayers: whether the layers' temporaries are computed again for the gradient instead of
    ///   kept
    package func callAsFunction(
        patches: Tensor, grid: (time: Int, height: Int, width: Int), recomputesLayers: Bool = false
    ) throws -> Tensor {
        var encoding = try begin(patches: patches, grid: grid)
        encoding.recomputesLayers = recomputesLayers
        while true {
            if let tokens = try step(&encoding) { return tokens }
        }
    }

    /// The tokens of all frame pairs, with all rows in each product: faster where a frame has few patches. Images of
    /// one size can be stacked as if they were frame pairs of one video. → [t · h · w / merge², outputWidth]
    ///
    /// - Parameter recomputesLayers: whether only the layers' inputs stay in memory until the gradient is computed
    package func callAsFunction(
        allRowsOf patches: Tensor, grid: (time: Int, height: Int, width: Int), recomputesLayers: Bool = false
    ) throws -> Tensor {
        let pairRows = try pairRows(of: patches, grid: grid)
        let rotation = try rotation(pairs: grid.time, height: grid.height, width: grid.width)
        let segments = (0..<grid.time).map { pairRows * $0..<pairRows * ($0 + 1) }
            .map { AttentionSegment(queries: $0, keys: $0) }
        var x = try patchEmbedding.product(patches)
        for layer in layers {
            try Interruption.check()
            let input = x.take()
            x =
                recomputesLayers
                ? try recomputing([input]) { try layer($0[0], rotation: rotation, segments: segments) }
                : try layer(input, rotation: rotation, segments: segments)
        }
        return try merger(x)
    }

    /// The rotation for the rows of frame pairs: half of the frequencies encode the patch's row, half its column.
    private func rotation(pairs: Int = 1, height: Int, width: Int) throws -> Rotation {
        let merge = configuration.merge, half = configuration.headDim / 2, quarter = half / 2
        let frequencies = (0..<quarter).map { 1 / powf(10_000, Float(2 * $0) / Float(half)) }
        return try Rotation(
            angles: Tensor(rows: pairs * height * width, columns: half) { row, pair in
                // Rows are grouped into squares of merge × merge patches.
                let (square, inside) = (row % (height * width)).quotientAndRemainder(dividingBy: merge * merge)
                let (top, left) = square.quotientAndRemainder(dividingBy: width / merge)
                let y = top * merge + inside / merge, x = left * merge + inside % merge
                return pair < quarter ? Float(y) * frequencies[pair] : Float(x) * frequencies[pair - quarter]
            })
    }
}

extension VisionEncoder: Parameterized {
    public var parameters: [Parameter] {
        [Parameter("patch_embed.proj.weight", patchEmbedding, shape: patchShape)]
            + layers.parameters(under: "blocks") + merger.parameters(under: "merger")
    }
}
