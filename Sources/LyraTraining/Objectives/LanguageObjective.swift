import LyraBase
import LyraModel
import LyraTensor

/// Trains a model to answer: cross-entropy of the answers' tokens, plus λ · LCMR of the speech and its transcript. The
/// paper's stages 1 to 3, and training from nothing, differ in what is trained and in λ.
package struct LanguageObjective: Objective, AnswerMatching {
    package struct Options: Sendable {
        /// The adapter that the decoder and the speech projector use; nil for none.
        package var adapter: Int?
        /// Prunes media tokens inside the decoder; nil for none.
        package var extractor: Extractor?
        /// λ: the weight of the regularizer. Without it LCMR is not computed.
        package var regularizerWeight = 0.0
        /// τ of LCMR; nil for the checkpoint's.
        package var regularizerTemperature: Double?
        /// γ of LCMR's soft-DTW.
        package var regularizerGamma = 0.1
        /// The share of elements that the adapter's updates drop from their input in training.
        package var dropout = 0.0
        /// Whether only the layers' inputs stay in memory until the gradient is computed.
        package var recomputesLayers = false

        package init() {}
    }

    package let parts: [LossPart]
    private let options: Options
    private let encoder: ExampleEncoder
    private let decoder: Decoder
    /// The decoder with dropout.
    private let trainedDecoder: Decoder
    private let dropouts: [Dropout]
    private let schedule: ExtractionSchedule?
    private let regularizer: CrossModalityRegularizer

    /// - Parameter trainables: those with which the checkpoint was opened
    /// - Throws: `LyraError.argument` for an option out of range.
    package init(_ checkpoint: Checkpoint, _ trainables: TrainableParameters, _ options: Options) throws {
        guard options.regularizerWeight >= 0, options.regularizerWeight.isFinite else {
            throw LyraError(
                .argument, "LCMR's weight is \(options.regularizerWeight); it must be a finite number, 0 or more")
        }
        self.options = options
        encoder = ExampleEncoder(checkpoint, trainables, adapter: options.adapter, options.recomputesLayers)
        decoder = checkpoint.decoder
        (trainedDecoder, dropouts) =
            if let adapter = options.adapter, options.dropout != 0 {
                try decoder.droppingOut(options.dropout, adapter: adapter)
            } else { (decoder, []) }
        schedule = options.extractor.flatMap { ExtractionSchedule($0, layers: checkpoint.decoder.layerCount) }
        regularizer = try CrossModalityRegularizer(
            temperature: options.regularizerTemperature ?? checkpoint.configuration.alignmentTemperature,
            gamma: options.regularizerGamma)
        let entropy = LossPart("cross_entropy")
        parts =
            options.regularizerWeight > 0 ? [entropy, LossPart("lcmr", weight: options.regularizerWeight)] : [entropy]
    }

    private var usesRegularizer: Bool { parts.count > 1 }

    /// Answer tokens; and 1 if there is speech with a transcript.
    package func terms(of example: TrainingExample) -> [Int] {
        let tokens = example.pieces.reduce(0) { sum, piece in
            if case .answer(let ids) = piece { sum + ids.count } else { sum }
        }
        guard usesRegularizer else { return [tokens] }
        let hasSpeech = example.pieces.contains { if case .speech = $0 { true } else { false } }
        return [tokens, hasSpeech && !(example.transcript ?? []).isEmpty ? 1 : 0]
    }

    /// - Throws: `LyraError`, naming the example and the reason, if it cannot be used: no answer, nothing before it, a
    ///   token outside the vocabulary, a medium for which the checkpoint has no network, or too many tokens.
    package func check(_ example: TrainingExample) throws {
        try encoder.check(example, prunesMedia: schedule != nil)
    }

    package func differentiate(
        _ examples: [TrainingExample], totals: [Int], seed: UInt64, observer: (any GradientObserver)?
    ) throws -> [Double] {
        try differentiate(examples.map(encoder.rows), totals: totals, seed: seed, observer: observer)
    }

    package func evaluate(_ examples: [TrainingExample]) throws -> [Double] {
        try Recording.paused {
            let rows = try examples.map(encoder.rows)
            let (predicting, targets) = try predictions(rows, decoder)
            let entropy = try decoder.crossEntropy(predicting, targets: targets, adapter: options.adapter)
            guard usesRegularizer else { return [entropy.sum] }
            let alignment = try rows.reduce(0.0) { sum, row in
                guard let (speech, transcript) = row.alignable else { return sum }
                let text = try decoder.embed(transcript, adapter: options.adapter)
                return sum + (try regularizer.loss(speech: speech, text: text))
            }
            return [entropy.sum, alignment]
        }
    }

    /// The number of examples of which each token of each answer is the likeliest after the right ones before it:
    /// greedy decoding gives these answers.
    package func exactMatches(_ examples: [TrainingExample]) throws -> Int {
        try Recording.paused {
            let rows = try examples.map(encoder.rows)
            let (hidden, targets) = try predictions(rows, decoder)
            let isGreedy = try decoder.greedyChoices(hidden, targets: targets, adapter: options.adapter)
            var first = 0
            return rows.count { row in
                let count = row.answers.reduce(0) { $0 + $1.tokens.count }
                defer { first += count }
                return isGreedy[first..<first + count].allSatisfy(\.self)
            }
        }
    }

    /// `differentiate` from rows, for examples whose encoders' output is given.
    func differentiate(
        _ rows: [ExampleRows], totals: [Int], seed: UInt64, observer: (any GradientObserver)? = nil
    ) throws -> [Double] {
        guard totals.count == parts.count else {
            throw LyraError(.argument, "\(totals.count) totals for a loss of \(parts.count) parts")
        }
        // One sequence of numbers gives each update a seed of its own.
        var random = SplitMix64(seed: seed)
        for dropout in dropouts { dropout.seed = random.next() }
        let (predicting, targets) = try predictions(rows, trainedDecoder)
        let (entropy, gradient) = try trainedDecoder.crossEntropy(
            predicting, targets: targets, adapter: options.adapter, gradientScale: 1 / Double(max(totals[0], 1)))
        guard usesRegularizer else {
            try backpropagate([(predicting, gradient)], observer: observer)
            return [entropy.sum]
        }
        let alignment = try regularize(rows, total: totals[1])
        try backpropagate([(predicting, gradient)] + alignment.roots, observer: observer)
        return [entropy.sum, alignment.sum]
    }

    /// The final hidden states that predict the answers' tokens, [answer tokens, hidden], and those tokens.
    private func predictions(
        _ rows: [ExampleRows], _ decoder: Decoder
    ) throws -> (hidden: Tensor, targets: [Int32]) {
        let output = try decoder(
            rows.map(\.sample), adapter: options.adapter, schedule: schedule,
            recomputesLayers: options.recomputesLayers)
        let answers = try output.predicting(rows.map(\.answers))
        return (try output.hidden.keepingRows(answers.flatMap(\.places)), answers.flatMap(\.tokens))
    }

    /// LCMR of the examples with speech and a transcript.
    ///
    /// - Parameter total: number of such examples in the whole update
    /// - Returns: the sum over the examples, without λ; and the gradients of λ · sum / total with respect to the
    ///   speech, and to the transcripts' embeddings if those are trained
    private func regularize(
        _ examples: [ExampleRows], total: Int
    ) throws -> (sum: Double, roots: [(result: Tensor, gradient: Tensor)]) {
        var sum = 0.0
        var roots: [(result: Tensor, gradient: Tensor)] = []
        for example in examples {
            guard let (speech, transcript) = example.alignable else { continue }
            let text = try decoder.embed(transcript, adapter: options.adapter)
            let result = try regularizer(
                speech: speech.detached, text: text.detached,
                gradientScale: options.regularizerWeight / Double(max(total, 1)), wantsTextGradient: text.isTracked)
            sum += result.loss
            roots.append((speech, result.speechGradient))
            if let gradient = result.textGradient { roots.append((text, gradient)) }
        }
        return (sum, roots)
    }
}

extension ExampleEncoder {
    init(_ checkpoint: Checkpoint, _ trainables: TrainableParameters, adapter: Int?, _ recomputesLayers: Bool) {
        self.init(
            checkpoint: checkpoint, adapter: adapter, trainsSpeechTower: trainables.contain(.speechTower),
            trainsVisionTower: trainables.contain(.visionTower), recomputesLayers: recomputesLayers)
    }
}
