import CKernels
import Glibc
import LyraBase
import LyraTensor

/// A duration predictor at work on one utterance: units in, and frames for each unit as soon as the units after it that
/// its convolutions see are known.
final class VocoderDurationStream {
    /// More frames than a unit of speech can last: 20 s at 50 frames a second. Keeps damaged weights from making an
    /// endless sound.
    static let longest: Float = 1000

    private let vocoder: Vocoder
    private var tails: [ColumnTail]
    /// Units fed whose frames are not known yet.
    private let undecided = GrowingBuffer<Int32>()

    init(_ vocoder: Vocoder) throws {
        self.vocoder = vocoder
        tails = try vocoder.durations.layers.map {
            let convolution = $0.convolution
            return try ColumnTail(
                channels: convolution.inputs, capacity: convolution.span, zeros: convolution.padding)
        }
    }

    /// - Parameter isLast: The utterance ends with these units.
    /// - Returns: the units that are decided now, in order.
    func push(_ units: UnsafeBufferPointer<Int32>, isLast: Bool) throws -> [FrameRun] {
        try undecided.append(units)
        // [units, dim] between layers, so that LayerNorm sees rows
        var rows = try vocoder.embeddings.keepingRows(units)
        for index in vocoder.durations.layers.indices {
            rows = try run(index, rows, isLast: isLast)
        }
        let decided = min(rows.rows, undecided.count)
        let runs = (0..<decided).map { FrameRun(unit: Int(undecided[$0]), frames: frames(rows.rows($0..<$0 + 1))) }
        undecided.removeFirst(decided)
        return runs
    }

    /// Convolution, ReLU and LayerNorm. [columns, inputs] → [fewer or more columns, outputs]
    private func run(_ index: Int, _ rows: Tensor, isLast: Bool) throws -> Tensor {
        let layer = vocoder.durations.layers[index]
        let convolution = layer.convolution
        let columns = rows.rows
        let kept = tails[index].count
        let available = kept + columns + (isLast ? convolution.padding : 0)
        let made = max(0, available - convolution.span)
        let memory = try FloatStorage(count: (convolution.inputs + convolution.outputs) * available)
        let plane = Plane(base: memory.base, stride: available)
        let output = memory.base + convolution.inputs * available
        tails[index].restore(to: plane)
        rows.withValues { rows in
            for column in 0..<columns {
                for row in 0..<convolution.inputs {
                    plane.base[row * available + kept + column] = rows[column * convolution.inputs + row]
                }
            }
        }
        plane.clear(kept + columns..<available, rows: convolution.inputs)
        try convolution(
            plane.base, stride: available, columns: made,
            into: lk_conv1d_output(activated: output, stride: available, slope: 0))
        tails[index].keep(made..<available, of: plane)
        let result = try Tensor([made, convolution.outputs]) { result in
            for column in 0..<made {
                for row in 0..<convolution.outputs {
                    result[column * convolution.outputs + row] = output[row * available + column]
                }
            }
        }
        withExtendedLifetime(memory) {}
        return try result.layerNormalized(weight: layer.normWeight, bias: layer.normBias, epsilon: 1e-5)
    }

    /// round(exp(weighted sum) - 1), at least 1.
    private func frames(_ row: Tensor) -> Int {
        var sum = vocoder.durations.bias
        row.withValues { row in
            vocoder.durations.projection.withValues { weights in
                for i in 0..<vocoder.durations.projection.count { sum += row[i] * weights[i] }
            }
        }
        let frames = (expf(sum) - 1).rounded(.toNearestOrEven)
        guard frames >= 1 else { return 1 }
        return Int(min(frames, Self.longest))
    }
}
