import CKernels
import Glibc
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
    private var undecided: [Int] = []

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
    func push(_ units: [Int], isLast: Bool) throws -> [FrameRun] {
        undecided += units
        let dim = vocoder.configuration.embeddingDim
        // [units, dim] between layers, so that LayerNorm sees rows
        var rows = units.flatMap { vocoder.embeddings[$0 * dim..<($0 + 1) * dim] }
        for index in vocoder.durations.layers.indices {
            rows = try run(index, rows, isLast: isLast)
        }
        let hidden = vocoder.configuration.durationPredictor.hiddenDim
        let decided = min(rows.count / hidden, undecided.count)
        let runs = (0..<decided).map { index in
            FrameRun(unit: undecided[index], frames: frames(rows[index * hidden..<(index + 1) * hidden]))
        }
        undecided.removeFirst(decided)
        return runs
    }

    /// Convolution, ReLU and LayerNorm. [columns, inputs] → [fewer or more columns, outputs]
    private func run(_ index: Int, _ rows: [Float], isLast: Bool) throws -> [Float] {
        let layer = vocoder.durations.layers[index]
        let convolution = layer.convolution
        let columns = rows.count / convolution.inputs
        let kept = tails[index].count
        let available = kept + columns + (isLast ? convolution.padding : 0)
        let made = max(0, available - convolution.span)
        let memory = try FloatStorage(count: (convolution.inputs + convolution.outputs) * available)
        let plane = Plane(base: memory.base, stride: available)
        let output = memory.base + convolution.inputs * available
        tails[index].restore(to: plane)
        for column in 0..<columns {
            for row in 0..<convolution.inputs {
                plane.base[row * available + kept + column] = rows[column * convolution.inputs + row]
            }
        }
        plane.clear(kept + columns..<available, rows: convolution.inputs)
        try convolution(
            plane.base, stride: available, columns: made,
            into: lk_conv1d_output(activated: output, stride: available, slope: 0))
        tails[index].keep(made..<available, of: plane)
        var result = [Float](repeating: 0, count: made * convolution.outputs)
        for column in 0..<made {
            for row in 0..<convolution.outputs {
                result[column * convolution.outputs + row] = output[row * available + column]
            }
        }
        let plain = result
        lk_layer_norm(&result, plain, layer.normWeight, layer.normBias, made, convolution.outputs, 1e-5)
        try Interruption.check()
        withExtendedLifetime(memory) {}
        return result
    }

    /// round(exp(weighted sum) - 1), at least 1.
    private func frames(_ row: ArraySlice<Float>) -> Int {
        var sum = vocoder.durations.bias
        for (value, weight) in zip(row, vocoder.durations.projection) { sum += value * weight }
        let frames = (expf(sum) - 1).rounded(.toNearestOrEven)
        guard frames >= 1 else { return 1 }
        return Int(min(frames, Self.longest))
    }
}
