import CKernels
import LyraBase

/// A vocoder's network at work on one utterance: frames of embeddings in, samples out.
final class VocoderGeneratorStream {
    private let vocoder: Vocoder
    private let workspace: VocoderWorkspace
    private let stages: [VocoderStageStream]
    private var entryTail: ColumnTail
    private var exitTail: ColumnTail

    /// - Parameter frames: most frames of a piece.
    init(_ vocoder: Vocoder, frames: Int) throws {
        self.vocoder = vocoder
        workspace = try VocoderWorkspace(vocoder, frames: frames)
        stages = try vocoder.stages.map { try VocoderStageStream($0) }
        entryTail = try ColumnTail(
            channels: vocoder.entry.inputs, capacity: vocoder.entry.span, zeros: vocoder.entry.padding)
        exitTail = try ColumnTail(
            channels: vocoder.exit.inputs, capacity: vocoder.exit.span, zeros: vocoder.exit.padding)
    }

    /// Takes the frames of `runs`, no more of them than the workspace was made for.
    ///
    /// - Parameters:
    ///   - isLast: The utterance ends with these frames.
    ///   - samples: Those that are final now are appended to it.
    func push(_ runs: [FrameRun], isLast: Bool, into samples: GrowingBuffer<Float>) throws {
        var columns = try enter(runs, isLast: isLast)
        for (index, stage) in stages.enumerated() {
            guard columns > 0 || isLast else { return }
            let isEnd = index + 1 == stages.count
            let following = isEnd ? exitTail : stages[index + 1].input
            let target = workspace.input(index + 2)
            following.restore(to: target)
            columns = try stage.push(
                columns, in: workspace.input(index + 1), isLast: isLast, planes: workspace.planes(stage: index),
                slope: isEnd ? Vocoder.lastSlope : Vocoder.slope, to: target, at: following.count)
        }
        try leave(columns, isLast: isLast, into: samples)
    }

    /// First convolution, activated into the first stage's input.
    private func enter(_ runs: [FrameRun], isLast: Bool) throws -> Int {
        let plane = workspace.input(0)
        let dim = vocoder.entry.inputs
        entryTail.restore(to: plane)
        var available = entryTail.count
        for run in runs {
            vocoder.embeddings.rows(run.unit..<run.unit + 1).withValues { embedding in
                for row in 0..<dim {
                    (plane.at(available) + row * plane.stride).update(repeating: embedding[row], count: run.frames)
                }
            }
            available += run.frames
        }
        available = padded(available, vocoder.entry, plane, isLast)
        let made = max(0, available - vocoder.entry.span)
        guard let stage = stages.first else { return 0 }
        let target = workspace.input(1)
        stage.input.restore(to: target)
        try vocoder.entry(
            plane.base, stride: plane.stride, columns: made,
            into: lk_conv1d_output(
                activated: target.at(stage.input.count), stride: target.stride, slope: Vocoder.slope))
        entryTail.keep(made..<available, of: plane)
        return made
    }

    /// Last convolution.
    private func leave(_ columns: Int, isLast: Bool, into samples: GrowingBuffer<Float>) throws {
        let plane = workspace.input(stages.count + 1)
        let available = padded(exitTail.count + columns, vocoder.exit, plane, isLast)
        let made = max(0, available - vocoder.exit.span)
        let before = samples.count
        try samples.resize(to: before + made)
        if let base = samples.elements.baseAddress {
            try vocoder.exit(
                plane.base, stride: plane.stride, columns: made,
                into: lk_conv1d_output(y: base + before, stride: made))
            lk_tanh(base + before, made)
        }
        exitTail.keep(made..<available, of: plane)
    }

    private func padded(_ columns: Int, _ convolution: VocoderConvolution, _ plane: Plane, _ isLast: Bool) -> Int {
        guard isLast else { return columns }
        plane.clear(columns..<columns + convolution.padding, rows: convolution.inputs)
        return columns + convolution.padding
    }
}

/// A unit and how many frames of it follow.
struct FrameRun {
    let unit: Int
    var frames: Int
}
