import LyraBase
import LyraModel
import LyraTensor
import TestSupport
import Testing

@testable import LyraTraining

@Suite struct GeneratorObjectiveTests {
    private func objective(_ model: TrainedModel, recomputesLayers: Bool = false) throws -> GeneratorObjective {
        var options = GeneratorObjective.Options()
        options.recomputesLayers = recomputesLayers
        return try GeneratorObjective(model.checkpoint, options)
    }

    /// All rows at once, of two answers beside each other, as of one.
    @Test(arguments: Golden.both) func scoresEqualTheReference(_ golden: Golden) throws {
        let model = try TrainedModel(["speech_generator"], path: Golden.path(golden.name) + "/lyra")
        let generator = try #require(model.checkpoint.generator)
        let rows = try golden.tensor("speech_generator", "in.hidden")
        let wanted = try golden.floats("speech_generator", "out.ctc_logits").map(Double.init)
        let scores = try Recording.paused { try generator([rows.rows(2..<5), rows]) }
        #expect(scores.rows == 12 * 25)
        // Sums of float32 in another order.
        #expect(difference(scores.rows(75..<scores.rows).values, wanted) < 1e-4)
    }

    /// The reference's hidden states of a turn predict its answer's tokens, and so its units.
    @Test(arguments: Golden.both) func anExampleIsASpokenTurn(_ golden: Golden) throws {
        let model = try TrainedModel(["speech_generator"], path: Golden.path(golden.name) + "/lyra")
        let generator = try #require(model.checkpoint.generator), objective = try objective(model)
        let units = try golden.integers("turn_text", "out.units"), ids = try golden.integers("turn_text", "out.ids")
        let prompt = try model.checkpoint.tokenizer.encode(
            "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\nHello! Who are you?"
                + "<|im_end|>\n<|im_start|>assistant\n")
        // Only the last answer is spoken.
        let example = TrainingExample([.prompt(prompt), .answer(ids)], units: units)
        try objective.check(example)
        let logits = try Recording.paused { try generator([golden.tensor("turn_text", "out.hidden")]) }
        guard case .loss(let wanted, _) = try CTCLoss()(logits, targets: units) else {
            throw FixtureError("the units do not fit")
        }
        #expect(try difference(objective.evaluate([example])[0], wanted) < 1e-3)
        let first = TrainingExample([.prompt(prompt), .answer([5, 6]), .prompt([7]), .answer([8])], units: [1])
        #expect(try objective.hiddenStates(of: [example, first]).map(\.rows) == [12, 1])
    }

    /// With `speech_generator_context_rows`, the rows of the text before the answer precede its own.
    @Test func rowsOfThePromptPrecedeTheAnswer() throws {
        let (small, other) = (try SmallCheckpoint(contextRows: 2), try SmallCheckpoint())
        let model = try TrainedModel(["speech_generator"], path: small.path)
        let published = try TrainedModel(["speech_generator"], path: other.path)
        let examples = [
            TrainingExample([.prompt([5, 6, 7, 8]), .answer([9, 10])], units: [3, 4]),
            TrainingExample([.prompt([5, 6]), .answer([9])], units: [3]),
            TrainingExample([.prompt([5, 6, 7]), .answer([9]), .prompt([8]), .answer([9])], units: [3]),
        ]
        let objective = try objective(model)
        let states = try objective.hiddenStates(of: examples)
        #expect(states.map(\.rows) == [4, 2, 1])
        let whole = TrainingExample([.prompt([5]), .answer([6, 7, 8, 9, 10])], units: [3])
        let all = try self.objective(published).hiddenStates(of: [whole])[0]
        #expect(difference(states[0].values, all.rows(1..<5).values.map(Double.init)) < 1e-5)
        // The rows before an answer get no scores.
        let generator = try #require(model.checkpoint.generator)
        let everything = try Recording.paused { try generator([states[0], states[1]]) }
        let spoken = try Recording.paused { try generator([states[0], states[1]], contextRows: [2, 1]) }
        let wanted = everything.rows(50..<100).values + everything.rows(125..<150).values
        #expect(difference(spoken.values, wanted.map(Double.init)) < 1e-5)
        let sums = try examples[..<2].map { try objective.evaluate([$0])[0] }
        #expect(try difference(objective.evaluate(Array(examples[..<2]))[0], sums[0] + sums[1]) < 1e-5)
        withExtendedLifetime((small, other)) {}
    }

    /// As in a session that chooses the adapter itself.
    @Test func anAdapterCanBeForSpeechOnly() throws {
        let model = try TrainedModel(["speech_generator"])
        let encoder = try model.checkpoint.speechNetworks.get().encoder.configuration
        let typed = TrainingExample([.prompt([5, 6]), .answer([9, 10])], units: [3])
        let silence = try Tensor(zeros: [encoder.mels, 2 * encoder.positions])
        let spoken = TrainingExample(
            [.prompt([5]), .speech(windows: [silence]), .prompt([6]), .answer([9])], units: [3])
        func states(_ adapter: Int?, needsSpeech: Bool = false) throws -> [[Float]] {
            var options = GeneratorObjective.Options()
            (options.adapter, options.adapterNeedsSpeech) = (adapter, needsSpeech)
            return try GeneratorObjective(model.checkpoint, options)
                .hiddenStates(of: [typed, spoken, typed]).map(\.values)
        }
        let (without, with, chosen) = (try states(nil), try states(0), try states(0, needsSpeech: true))
        #expect(without[0] != with[0] && without[1] != with[1])
        let wanted = [without[0], with[1], without[2]]
        for (state, wanted) in zip(chosen, wanted) { #expect(difference(state, wanted.map(Double.init)) < 1e-5) }
    }

    @Test(arguments: [false, true]) func gradientsAreDerivatives(_ recomputesLayers: Bool) throws {
        let model = try TrainedModel(["speech_generator"])
        let objective = try objective(model, recomputesLayers: recomputesLayers)
        let examples = [
            TrainingExample([.prompt([5, 6]), .answer([7, 8])], units: [3, 3, 4]),
            TrainingExample([.prompt([9]), .answer([10])], units: [5, 6, 5]),
            TrainingExample([.prompt([9]), .answer([10])], units: nil),
        ]
        #expect(examples.map(objective.terms) == [[1], [1], [0]])
        try checkGradients(
            of: [
                model.parameter(.main, "input_proj.weight"), model.parameter(.main, "layers.0.self_attn.q_proj.weight"),
                model.parameter(.main, "layers.1.mlp.down_proj.weight"), model.parameter(.main, "output_proj.bias"),
            ], model, objective, examples)
        #expect(model.trainables.elements.allSatisfy { $0.name.hasPrefix("speech_generator.") })
    }

    @Test func unitsThatDoNotFitAreRefused() throws {
        let model = try TrainedModel(["speech_generator"]), objective = try objective(model)
        // An answer of one token has 25 frames; neighbours that differ need one each.
        let full = (0..<25).map { Int32($0 % 2) }
        try objective.check(TrainingExample([.prompt([5]), .answer([6])], units: full))
        for (units, reason) in [
            (nil, "no speech units"), ([], "no speech units"), ([100], "speech unit 100 is not 0 to 99"),
            ([-1], "speech unit -1"), (full + [1 - full[24]], "26 frames are needed"),
        ] as [([Int32]?, String)] {
            let example = TrainingExample([.prompt([5]), .answer([6])], units: units)
            #expect {
                try objective.check(example)
            } throws: {
                "\($0)".contains(reason)
            }
        }
        #expect(objective.terms(of: TrainingExample([.prompt([5]), .answer([6])], units: full + [0, 1])) == [0])
    }
}
