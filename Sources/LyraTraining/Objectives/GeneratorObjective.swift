import LyraBase
import LyraModel
import LyraTensor

/// Trains the speech generator to speak an example's last answer (the paper's stage 4): CTC of the answer's speech
/// units, from the hidden states of a frozen language model. The loss is a mean over examples.
package struct GeneratorObjective: Objective, AnswerMatching {
    package struct Options: Sendable {
        /// The adapter that the decoder and the speech projector use; nil for none.
        package var adapter: Int?
        /// Whether they use it only for examples with speech, as sessions do that choose the adapter themselves.
        package var adapterNeedsSpeech = false
        /// Prunes media tokens inside the decoder; nil for none.
        package var extractor: Extractor?
        /// Whether only the generator's layers' inputs stay in memory until the gradient is computed.
        package var recomputesLayers = false

        package init() {}
    }

    package let parts = [LossPart("ctc")]
    private let options: Options
    /// Encodes with the adapter of the options, if they name one.
    private let encoder: ExampleEncoder
    private let encoderWithoutAdapter: ExampleEncoder
    private let decoder: Decoder
    private let generator: SpeechGenerator
    private let schedule: ExtractionSchedule?
    private let ctc = CTCLoss()

    /// Answers go through the generator together until they have this many positions. A position of the published
    /// generator keeps about 200 KB in each layer until its gradient is computed.
    private static let positionsPerPass = 4096

    /// - Throws: `LyraError.missing` if the checkpoint has no speech generator.
    package init(_ checkpoint: Checkpoint, _ options: Options) throws {
        guard let generator = checkpoint.generator else {
            throw LyraError(.missing, "the checkpoint has no speech generator to train: config.json names none")
        }
        self.options = options
        self.generator = generator
        func encoder(_ adapter: Int?) -> ExampleEncoder {
            ExampleEncoder(
                checkpoint: checkpoint, adapter: adapter, trainsSpeechTower: false, trainsVisionTower: false,
                recomputesLayers: false)
        }
        (self.encoder, encoderWithoutAdapter) = (encoder(options.adapter), encoder(nil))
        decoder = checkpoint.decoder
        schedule = options.extractor.flatMap { ExtractionSchedule($0, layers: checkpoint.decoder.layerCount) }
    }

    /// 1 if the units fit the answer's frames.
    package func terms(of example: TrainingExample) -> [Int] {
        [needs(example).map { $0 <= frames(example) } == true ? 1 : 0]
    }

    /// - Throws: `LyraError`, naming the example and the reason, if it cannot be used: as in stages 1 to 3, and if its
    ///   units are missing, unknown to the generator, or too many for the answer.
    package func check(_ example: TrainingExample) throws {
        try encoder.check(example, prunesMedia: schedule != nil)
        func refusal(_ reason: String) -> LyraError { LyraError(.argument, "\(example.origin): \(reason)") }
        guard let units = example.units, let needed = needs(example), needed > 0 else {
            throw refusal("the answer has no speech units")
        }
        if let wrong = units.first(where: { !(0..<Int32(clamping: generator.configuration.units)).contains($0) }) {
            throw refusal("speech unit \(wrong) is not 0 to \(generator.configuration.units - 1)")
        }
        guard needed <= frames(example) else {
            throw refusal("\(needed) frames are needed for the speech units, but the answer has \(frames(example))")
        }
    }

    /// Frames that the units need at least; nil without units.
    private func needs(_ example: TrainingExample) -> Int? {
        example.units.map { CTCLoss.framesNeeded(by: CTCLoss.collapsed($0)) }
    }

    /// Frames of the last answer.
    private func frames(_ example: TrainingExample) -> Int {
        guard let last = example.lastAnswer, case .answer(let ids) = example.pieces[last] else { return 0 }
        return ids.count.saturatingMultiplying(by: generator.configuration.upsampling)
    }

    /// Rows that the generator reads before those of the last answer: as many as it wants, but only of the text right
    /// before the answer. The last row of that text is the answer's first.
    private func contextRows(_ example: TrainingExample) -> Int {
        guard let last = example.lastAnswer, last > 0, case .prompt(let ids) = example.pieces[last - 1] else {
            return 0
        }
        return max(0, min(generator.configuration.contextRows, ids.count - 1))
    }

    package func differentiate(
        _ examples: [TrainingExample], totals: [Int], seed: UInt64, observer: (any GradientObserver)?
    ) throws -> [Double] {
        let total = totals.first ?? 0
        return [
            try forEachPass(examples) { logits, targets, isLast in
                var sum = 0.0
                var gradients: [Tensor] = []
                for (rows, units) in targets {
                    let result = try loss(logits.rows(rows).detached, units, scale: 1 / Double(max(total, 1)))
                    sum += result.value
                    gradients.append(result.gradient)
                }
                try backpropagate([(logits, .stacking(gradients))], observer: isLast ? observer : nil)
                return sum
            }
        ]
    }

    package func evaluate(_ examples: [TrainingExample]) throws -> [Double] {
        try Recording.paused {
            [
                try forEachPass(examples) { logits, targets, _ in
                    try targets.reduce(0) { $0 + (try loss(logits.rows($1.rows), $1.units, scale: 1).value) }
                }
            ]
        }
    }

    /// The number of examples whose units are those of CTC's greedy path.
    package func exactMatches(_ examples: [TrainingExample]) throws -> Int {
        let blank = generator.configuration.units
        return try Recording.paused {
            let count = try forEachPass(examples) { logits, targets, _ in
                let matches = targets.count { rows, units in
                    let path = logits.rows(rows).indicesOfLargest().map { Int32(clamping: $0) }
                    let spoken = CTCLoss.collapsed(path).filter { Int($0) != blank }
                    return spoken == CTCLoss.collapsed(units)
                }
                return Double(matches)
            }
            return Int(count)
        }
    }

    private func loss(_ logits: Tensor, _ units: [Int32], scale: Double) throws -> (value: Double, gradient: Tensor) {
        switch try ctc(logits, targets: units, gradientScale: scale) {
        case .loss(let value, let gradient): return (value, gradient)
        case .tooFewFrames(let needed, let present):
            throw LyraError(.argument, "speech units need \(needed) frames; the answer has \(present)")
        }
    }

    /// Sums `body` over the examples that have a term, as many at once as a pass takes.
    ///
    /// - Parameter body: receives the generator's scores of the pass, for each example its rows among them and its
    ///   units, and whether the pass is the last
    private func forEachPass(
        _ examples: [TrainingExample],
        _ body: (_ logits: Tensor, _ targets: [(rows: Range<Int>, units: [Int32])], _ isLast: Bool) throws -> Double
    ) throws -> Double {
        let fitting = examples.filter { terms(of: $0)[0] == 1 }
        guard !fitting.isEmpty else { return 0 }
        let states = try hiddenStates(of: fitting)
        var sum = 0.0
        var next = 0
        while next < fitting.count {
            var answers: [Tensor] = [], contexts: [Int] = []
            var targets: [(rows: Range<Int>, units: [Int32])] = []
            var positions = 0, scores = 0
            repeat {
                let example = fitting[next], frames = frames(example)
                answers.append(states[next])
                contexts.append(contextRows(example))
                targets.append((scores..<scores + frames, example.units ?? []))
                positions += states[next].rows * generator.configuration.upsampling
                scores += frames
                next += 1
            } while next < fitting.count
                && positions + states[next].rows * generator.configuration.upsampling <= Self.positionsPerPass
            let logits = try generator(answers, contextRows: contexts, recomputesLayers: options.recomputesLayers)
            sum += try body(logits, targets, next == fitting.count)
        }
        return sum
    }

    /// For each example, the generator's context and the states that predicted the tokens of its last answer, the token
    /// that ends it included: [context rows + answer tokens, hidden]. Not recorded.
    func hiddenStates(of examples: [TrainingExample]) throws -> [Tensor] {
        let usesAdapter = examples.map { !options.adapterNeedsSpeech || $0.hasSpeech }
        var states: [Int: Tensor] = [:]
        for (encoder, isWith) in [(encoder, true), (encoderWithoutAdapter, false)] {
            let chosen = examples.indices.filter { usesAdapter[$0] == isWith }
            guard !chosen.isEmpty else { continue }
            for (index, state) in zip(chosen, try hiddenStates(of: chosen.map { examples[$0] }, encoder)) {
                states[index] = state
            }
        }
        return examples.indices.compactMap { states[$0] }
    }

    private func hiddenStates(of examples: [TrainingExample], _ encoder: ExampleEncoder) throws -> [Tensor] {
        try Recording.paused {
            let rows = try examples.map(encoder.rows)
            let output = try decoder(rows.map(\.sample), adapter: encoder.adapter, schedule: schedule)
            let last = try output.predicting(rows.map { Array($0.answers.suffix(1)) })
            return try zip(examples, last).map { example, answer in
                let first = answer.places.first ?? 0, context = Int32(contextRows(example))
                return try output.hidden.keepingRows(Array(first - context..<first) + answer.places)
            }
        }
    }
}

extension TrainingExample {
    /// Index of the piece that is the last answer.
    fileprivate var lastAnswer: Int? { pieces.lastIndex { if case .answer = $0 { true } else { false } } }

    fileprivate var hasSpeech: Bool { pieces.contains { if case .speech = $0 { true } else { false } } }
}
