import Glibc
import LyraBase
import LyraModel
import LyraTensor
import TestSupport
import Testing

@testable import LyraTraining

/// Small models learn what they are trained on.
@Suite struct LearningTests {
    /// Stage 2: in 200 steps a LoRA and its projector learn 8 answers to 8 questions by heart, each about a recording
    /// (random encoder output of 10 tokens). The loss is the answers' cross-entropy.
    ///
    /// The final norm gives all states the same length, and the frozen head's random rows are short: no state makes a
    /// token of the fixture likelier than about 0.75, and the loss would stay at 0.27. So the norm is four times as
    /// large here; that of a trained model is larger too.
    @Test func anAdapterLearnsAnswersByHeart() throws {
        let model = try TrainedModel(["adapter", "projector", Self.finalNorm], adapter: "speech")
        let norm = try model.parameter(.main, Self.finalNorm)
        norm.withValues { for index in 0..<norm.count { $0[index] *= 4 } }
        var options = LanguageObjective.Options()
        (options.adapter, options.regularizerWeight) = (model.selection.adapter, 0.5)
        let objective = try LanguageObjective(model.checkpoint, model.trainables, options)
        var random = SplitMix64(seed: 1)
        func tokens(_ count: Int) -> [Int32] { (0..<count).map { _ in Int32(random.next(below: 2000)) } }
        let examples = try (0..<8).map { index in
            (
                encoded: try normal([50, 48], seed: index), question: tokens(3),
                answer: tokens(3 + index % 4) + [2048], transcript: tokens(4)
            )
        }
        let prompt = tokens(4)
        let totals = [examples.reduce(0) { $0 + $1.answer.count }, examples.count]
        func step() throws -> [Double] {
            let rows = try examples.map { example in
                let speech = try model.checkpoint.speechNetworks.get().project(
                    example.encoded, adapter: model.selection.adapter)
                return try ExampleRows(
                    [.prompt(prompt), .media(speech, .sequence), .prompt(example.question), .answer(example.answer)],
                    speech: speech, transcript: example.transcript, decoder: model.checkpoint.decoder,
                    adapter: model.selection.adapter)
            }
            return zip(try objective.differentiate(rows, totals: totals, seed: 0), totals).map { $0 / Double($1) }
        }
        let steps = 200, schedule = try Schedule(.cosine, steps: steps, warmupShare: 0.03)
        var loop = try TrainingLoop(model, rate: 5e-3)
        let first = try step()
        model.clearGradients()
        for number in 0..<steps {
            _ = try step()
            norm.node.clearGradient()  // so that it stays
            try loop.update(rateFactor: schedule.factor(at: number))
        }
        let last = try step()
        #expect(first[0] > 5 && last[0] < 0.05, "cross-entropy: \(first[0]) became \(last[0])")
        #expect(last[1] < first[1], "LCMR: \(first[1]) became \(last[1])")
    }

    private static let finalNorm = "model.norm.weight"

    /// Stage 4: the generator learns the units of 8 answers, two a token, and then speaks exactly these.
    ///
    /// The generator reads a row of the prompt first (`speech_generator_context_rows`): otherwise the positions of the
    /// first token attend to equal values, get the same scores, and can emit only one unit. The blank begins unlikely:
    /// otherwise the 25 positions of a token, nearly alike, learn to say its unit with a probability of 1/25 each. Then
    /// exactly one of them says it with 25 · 1/25 · (24/25)^24 = 0.38, a local maximum, and the likeliest path is
    /// silent.
    @Test func aSpeechGeneratorLearnsUnitsByHeart() throws {
        let small = try SmallCheckpoint(contextRows: 1)
        let model = try TrainedModel(["speech_generator"], path: small.path)
        let objective = try GeneratorObjective(model.checkpoint, GeneratorObjective.Options())
        let generator = try #require(model.checkpoint.generator), blank = generator.configuration.units
        try model.parameter(.main, "speech_generator.output_proj.bias").withValues { $0[blank] = -6 }
        var random = SplitMix64(seed: 2)
        func tokens(_ count: Int) -> [Int32] { (0..<count).map { _ in Int32(random.next(below: 500)) } }
        let examples = (0..<8).map { index in
            let (prompt, answer) = (tokens(4), tokens(2 + index % 2))
            let units = (0..<answer.count * 2 + index % 2).map { _ in Int32(random.next(below: 100)) }
            return TrainingExample([.prompt(prompt), .answer(answer)], units: CTCLoss.collapsed(units))
        }
        for example in examples { try objective.check(example) }
        let steps = 800, schedule = try Schedule(.linear, steps: steps, warmupShare: 0.05)
        var loop = try TrainingLoop(model, rate: 6e-3)
        var loss = Double.infinity
        for step in 0..<steps {
            loss = try objective.differentiate(examples, totals: [8], seed: 0)[0] / 8
            try loop.update(rateFactor: schedule.factor(at: step))
            if step % 20 == 0, try objective.exactMatches(examples) == 8 { break }
        }
        #expect(loss < 0.3)
        for (example, states) in zip(examples, try objective.hiddenStates(of: examples)) {
            var state = generator.makeState(contextRows: 1)
            let units = try (0..<states.rows).flatMap { try generator.append(states.rows($0..<$0 + 1), to: &state) }
            #expect(units == example.units, "after a loss of \(loss)")
        }
        withExtendedLifetime(small) {}
    }

    /// Training from nothing: a model of two layers learns a language of four tokens. Each token follows from the one
    /// before the last: it is 1, 2 or 3 more (modulo 4), with the probabilities 1/2, 1/4 and 1/4. So a model that knows
    /// the language needs, for each token,
    ///
    ///     H = 1/2 · ln 2 + 1/4 · ln 4 + 1/4 · ln 4 = 1.5 · ln 2 = 1.0397
    ///
    /// and no model needs less. −ln p is ln 2 or 2 ln 2, each half of the time, so its deviation is 0.5 · ln 2 = 0.347,
    /// and that of the mean over 64 · 30 fresh tokens is 0.347 / √1920 = 0.008. Who does not look two tokens back needs
    /// ln 4 = 1.386: for the last token alone, the next is any of the four alike.
    @Test func aModelLearnsALanguageFromNothing() throws {
        let entropy = 1.5 * log(2.0), noise = 0.5 * log(2.0) / 1920.0.squareRoot()
        let small = try SmallCheckpoint()
        let model = try TrainedModel(["language_model"], path: small.path)
        let objective = try LanguageObjective(model.checkpoint, model.trainables, LanguageObjective.Options())
        var random = SplitMix64(seed: 3)
        func sentence() -> TrainingExample {
            var tokens = [Int32(random.next(below: 4)), Int32(random.next(below: 4))]
            for _ in 0..<30 {
                let step: Int32 = [1, 1, 2, 3][Int(random.next(below: 4))]
                tokens.append((tokens[tokens.count - 2] + step) % 4)
            }
            return TrainingExample([.prompt(Array(tokens[..<2])), .answer(Array(tokens[2...]))])
        }
        let steps = 800, schedule = try Schedule(.linear, steps: steps, warmupShare: 0.05)
        var loop = try TrainingLoop(model, rate: 6e-3)
        // A decaying mean of the losses.
        var recent = 2.0, number = 0
        while number < steps, recent > entropy + 0.015 {
            let batch = (0..<16).map { _ in sentence() }
            let totals = objective.totals(batch)
            let loss = try objective.differentiate(batch, totals: totals, seed: 0)[0] / Double(totals[0])
            recent += 0.05 * (loss - recent)
            try loop.update(rateFactor: schedule.factor(at: number))
            number += 1
        }
        let fresh = (0..<64).map { _ in sentence() }
        let loss = try objective.evaluate(fresh)[0] / Double(objective.totals(fresh)[0])
        #expect(loss < entropy + 0.03 + 3 * noise, "\(loss)")
        #expect(loss > entropy - 3 * noise, "\(loss)")
    }
}
