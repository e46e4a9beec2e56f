import LyraTensor

/// Working memory of a vocoder's layers for one piece; nothing in it outlives the piece.
struct VocoderPlanes {
    /// What a stage's transposed convolution made.
    let signal: Plane
    /// A block's signal, activated, before and between the two convolutions of a pair; and plain, for the residual.
    let activated: Plane
    let middle: Plane
    let plain: Plane
    let nextPlain: Plane
    /// What each block made.
    let outputs: [Plane]
}

/// Memory for all layers of a vocoder, which share it.
final class VocoderWorkspace {
    private let storage: FloatStorage
    private let planeSize: Int
    private let blocks: Int
    private let inputStrides: [Int]
    private let stageStrides: [Int]

    /// - Parameter frames: most frames of a piece.
    init(_ vocoder: Vocoder, frames: Int) throws {
        blocks = vocoder.configuration.resblockKernelSizes.count
        // A piece brings a layer at most `columns` columns, or at the end those that earlier layers waited for.
        var columns = frames, lookahead = 0
        var rows = vocoder.entry.inputs, size = 0
        var (inputStrides, stageStrides): ([Int], [Int]) = ([], [])
        func inputPlane(_ extra: Int) {
            inputStrides.append(VocoderWorkspace.stride(columns + lookahead + extra))
            size = max(size, rows * (inputStrides.last ?? 0))
        }
        inputPlane(2 * vocoder.entry.span)
        lookahead = vocoder.entry.padding
        rows = vocoder.entry.outputs
        for stage in vocoder.stages {
            let upsampling = stage.upsampling
            inputPlane(2 * upsampling.kernel)
            columns *= upsampling.rate
            lookahead = lookahead * upsampling.rate + upsampling.padding + stage.lookahead
            rows = upsampling.outputs
            let span = stage.blocks.joined().map { max($0.first.span, $0.second.span) }.max() ?? 0
            stageStrides.append(VocoderWorkspace.stride(columns + lookahead + 2 * span + 2 * upsampling.kernel))
            size = max(size, rows * (stageStrides.last ?? 0))
        }
        inputPlane(2 * vocoder.exit.span)
        self.inputStrides = inputStrides
        self.stageStrides = stageStrides
        planeSize = size
        storage = try FloatStorage(count: FloatStorage.count(of: [7 + blocks, size]))
    }

    /// Input of layer `layer`: 0 the first convolution, i + 1 stage i, and then the last convolution. Successive inputs
    /// lie in two planes by turns.
    func input(_ layer: Int) -> Plane { plane(layer % 2, stride: inputStrides[layer]) }

    func planes(stage: Int) -> VocoderPlanes {
        func plane(_ index: Int) -> Plane { self.plane(index, stride: stageStrides[stage]) }
        return VocoderPlanes(
            signal: plane(2), activated: plane(3), middle: plane(4), plain: plane(5), nextPlain: plane(6),
            outputs: (0..<blocks).map { plane(7 + $0) })
    }

    private func plane(_ index: Int, stride: Int) -> Plane {
        Plane(base: storage.base + index * planeSize, stride: stride)
    }

    /// `columns` rounded up to an odd number of cache lines, so that rows do not fall on the same cache sets.
    private static func stride(_ columns: Int) -> Int { (columns + 31) / 32 * 32 + 16 }
}
