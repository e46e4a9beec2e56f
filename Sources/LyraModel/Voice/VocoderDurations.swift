import Glibc
import LyraBase
import LyraTensor

/// The duration predictor: two times convolution, ReLU and layer norm; then log(1 + frames) of a unit as a weighted sum.
/// Exact in any case: a frame more or less would be audible.
struct DurationPredictor: Sendable {
    struct Layer: Sendable {
        let convolution: Convolution1D
        let norm: LayerNorm
    }

    let layers: [Layer]
    private let projection: Tensor
    private let bias: Float

    /// More frames than a unit of speech can last: 20 s at 50 frames a second. Bounds the sound that damaged weights make.
    private static let longest: Float = 1000

    init(_ weights: any WeightSource, _ configuration: VocoderConfiguration) throws {
        let hidden = configuration.durationPredictor.hiddenDim
        layers = try (1...2).map { index in
            try Layer(
                convolution: Convolution1D(
                    weights, "conv\(index).0", inputs: index == 1 ? configuration.embeddingDim : hidden,
                    outputs: hidden, kernel: configuration.durationPredictor.kernelSize, precision: .exact),
                norm: LayerNorm(weights, "ln\(index)", hidden))
        }
        projection = try weights.floats("proj.weight", [1, hidden])
        bias = try weights.floats("proj.bias", [1])[0]
    }

    /// round(exp(weighted sum) − 1), at least 1.
    ///
    /// - Parameter hidden: of one unit, [1, hiddenDim]
    func frames(_ hidden: Tensor) -> Int {
        var sum = bias
        for index in 0..<projection.count { sum += hidden[index] * projection[index] }
        let frames = (expf(sum) - 1).rounded(.toNearestOrEven)
        return frames >= 1 ? Int(min(frames, Self.longest)) : 1
    }
}

/// A duration predictor at work on one utterance: units in, and frames for each unit as soon as the units after it that
/// the convolutions depend on are known.
struct StreamedDurations {
    private let embeddings: Tensor
    private let predictor: DurationPredictor
    private var convolutions: [StreamedConvolution]
    /// Units fed whose frames are not known yet.
    private let undecided = GrowingBuffer<Int32>()

    init(_ vocoder: Vocoder) throws {
        embeddings = vocoder.embeddings
        predictor = vocoder.durations
        convolutions = try predictor.layers.map { try StreamedConvolution($0.convolution) }
    }

    /// - Parameter isLast: The utterance ends with these units.
    /// - Returns: the units that are decided now, in order.
    mutating func push(_ units: some Collection<Int32>, isLast: Bool) throws -> [FrameRun] {
        try undecided.append(units)
        var rows = try embeddings.keepingRows(units)  // [units, dim]
        for (index, layer) in predictor.layers.enumerated() {
            let signal = try rows.transposed().after(convolutions[index].history)
            let input = try convolutions[index].advance(signal, isLast: isLast)
            rows = try layer.norm(layer.convolution.activated(input, slope: 0).transposed())
        }
        let decided = min(rows.rows, undecided.count)
        let runs = (0..<decided).map {
            FrameRun(unit: undecided[$0], frames: predictor.frames(rows.rows($0..<$0 + 1)))
        }
        undecided.removeFirst(decided)
        return runs
    }
}

/// A unit and how many frames of it follow.
struct FrameRun {
    let unit: Int32
    var frames: Int
}
