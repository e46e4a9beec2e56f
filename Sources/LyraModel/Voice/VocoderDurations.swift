import Glibc
import LyraBase
import LyraTensor

/// The duration predictor: two layers of convolution, ReLU and norm; then a weighted sum gives log(1 + frames) of a
/// unit. Always exact, because a wrong number of frames would be audible.
struct DurationPredictor: Sendable {
    struct Layer: Sendable {
        let convolution: ConvolutionLayer<Convolution1D>
        let norm: LayerNorm
    }

    private(set) var layers: [Layer]
    private let projection: Tensor
    private let bias: Tensor

    /// Maximum frames of a unit, longer than any unit of real speech: 20 s at 50 frames a second. Limits the audio from
    /// damaged weights.
    private static let longest = 1000
    /// Frames that a unit can last.
    static let possible = 1...longest

    init(_ weights: any WeightSource, _ configuration: VocoderConfiguration) throws {
        let hidden = configuration.durationPredictor.hiddenDim
        layers = try (1...2).map { index in
            try Layer(
                convolution: ConvolutionLayer(
                    weights, "conv\(index).0", inputs: index == 1 ? configuration.embeddingDim : hidden,
                    outputs: hidden, kernel: configuration.durationPredictor.kernelSize, precision: .exact),
                norm: LayerNorm(weights, "ln\(index)", hidden))
        }
        projection = try weights.floats("proj.weight", [1, hidden])
        bias = try weights.floats("proj.bias", [1])
    }

    /// The predictor with the present values of its trained parameters.
    func current() throws -> DurationPredictor {
        var copy = self
        copy.layers = try layers.map { Layer(convolution: try $0.convolution.current(), norm: $0.norm) }
        return copy
    }

    /// The weighted sums for a whole utterance. [units, embeddingDim] → [1, units]
    func logDurations(_ embedded: Tensor) throws -> Tensor {
        var rows = embedded
        for layer in layers {
            var convolution = try StreamedConvolution(layer.convolution.convolution)
            let input = try convolution.keepHistory(
                of: rows.transposed().after(convolution.history), isLast: true)
            rows = try layer.norm(convolution.convolution.activated(input, slope: 0).transposed())
        }
        let kernel = try projection.reshaped([1, projection.count, 1])
        return try Convolution1D(kernel, bias: bias)(rows.transposed())
    }

    /// round(exp(weighted sum) − 1), at least 1.
    ///
    /// - Parameter hidden: hidden state of one unit, [1, hiddenDim]
    func frames(_ hidden: Tensor) -> Int {
        var sum = bias[0]
        for index in 0..<projection.count { sum += hidden[index] * projection[index] }
        let frames = (expf(sum) - 1).rounded(.toNearestOrEven)
        return frames >= 1 ? Int(min(frames, Float(Self.longest))) : 1
    }
}

extension DurationPredictor: Parameterized {
    var parameters: [Parameter] {
        layers.enumerated().flatMap { index, layer in
            layer.convolution.parameters(under: "conv\(index + 1).0") + layer.norm.parameters(under: "ln\(index + 1)")
        } + [Parameter("proj.weight", projection), Parameter("proj.bias", bias)]
    }
}

/// The duration predictor of one utterance: takes units, and returns the frame count of each unit once the later units
/// that it depends on are known.
struct StreamedDurations {
    private let embeddings: Tensor
    private let predictor: DurationPredictor
    private var convolutions: [StreamedConvolution]
    /// Units without a known frame count.
    private let undecided = GrowingBuffer<Int32>()

    init(_ vocoder: Vocoder) throws {
        embeddings = vocoder.embeddings
        predictor = vocoder.durations
        convolutions = try predictor.layers.map { try StreamedConvolution($0.convolution.convolution) }
    }

    /// - Parameter isLast: whether the utterance ends with these units
    /// - Returns: units whose durations became known, in order
    mutating func push(_ units: some Collection<Int32>, isLast: Bool) throws -> [TimedUnit] {
        try undecided.append(units)
        var rows = try embeddings.keepingRows(units)  // [units, dim]
        for (index, layer) in predictor.layers.enumerated() {
            let signal = try rows.transposed().after(convolutions[index].history)
            let input = try convolutions[index].keepHistory(of: signal, isLast: isLast)
            rows = try layer.norm(convolutions[index].convolution.activated(input, slope: 0).transposed())
        }
        let decided = min(rows.rows, undecided.count)
        let timed = (0..<decided).map {
            TimedUnit(unit: undecided[$0], frames: predictor.frames(rows.rows($0..<$0 + 1)))
        }
        undecided.removeFirst(decided)
        return timed
    }
}

/// A speech unit and its number of frames.
struct TimedUnit {
    let unit: Int32
    var frames: Int
}
