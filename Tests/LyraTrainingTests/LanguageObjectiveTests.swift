import LyraBase
import LyraModel
import LyraTensor
import LyraText
import TestSupport
import Testing

@testable import LyraMedia
@testable import LyraTraining

@Suite struct LanguageObjectiveTests {
    private func mel(_ model: TrainedModel, seed: Int) throws -> Tensor {
        let configuration = try model.checkpoint.speechNetworks.get().encoder.configuration
        return try normal([configuration.mels, 2 * configuration.positions], seed: seed, deviation: 0.5)
    }

    private func options(_ model: TrainedModel, _ change: (inout LanguageObjective.Options) -> Void = { _ in })
        -> LanguageObjective.Options
    {
        var options = LanguageObjective.Options()
        options.adapter = model.selection.adapter
        change(&options)
        return options
    }

    // MARK: Turns of the reference

    /// The answer's cross-entropy from the reference's hidden states is that of a training example with the same media,
    /// text and answer.
    @Test(arguments: Golden.both) func anExampleIsATurn(_ golden: Golden) throws {
        for (name, adapter) in [("turn_image_speech", "speech"), ("turn_video", nil), ("turn_sound", nil)] {
            let model = try TrainedModel(
                ["embeddings"], adapter: adapter, path: Golden.path(golden.name) + "/lyra")
            let objective = try LanguageObjective(model.checkpoint, model.trainables, options(model))
            let ids = try golden.integers(name, "out.ids")
            let example = TrainingExample(try turn(name, golden, model.checkpoint) + [.answer(ids)])
            try objective.check(example)
            let logits = try Recording.paused {
                try model.checkpoint.decoder.logits(golden.tensor(name, "out.hidden"), adapter: model.selection.adapter)
            }
            let wanted = try CrossEntropy.of(logits, targets: ids).loss.sum
            // The reference computes in float32, as lyra does, in another order.
            #expect(difference(try objective.evaluate([example])[0], wanted) < 1e-4, "\(name)")
            #expect(model.takeGradients().isEmpty, "evaluation computes no gradient")
        }
    }

    /// A session prunes the media of a turn by that turn's text after the first medium.
    @Test func theExtractorsQueriesAreThoseOfASession() throws {
        let decoder = try TrainedModel(["embeddings"]).checkpoint.decoder
        let media = try normal([3, 64], seed: 1), text: [Int32] = [5, 6]
        let rows = try ExampleRows(
            [
                .prompt(text), .media(media, .sequence), .prompt(text), .media(media, .sequence), .prompt(text),
                .answer(text), .prompt(text), .answer(text), .prompt(text), .media(media, .sequence), .prompt(text),
                .answer(text),
            ], speech: nil, transcript: nil, decoder: decoder, adapter: nil)
        let wanted = "..---??---??.." + "...." + "..---??.."
        let got = zip(rows.sample.isMedia, rows.sample.isQuery).map { $0 ? "-" : $1 ? "?" : "." }.joined()
        #expect(got == wanted)
    }

    /// Of the 40 media tokens of a turn, the extractor keeps at least 32; of 80 together it would keep 40, then 32.
    @Test func theMediaOfEachTurnArePrunedSeparately() throws {
        let decoder = try TrainedModel(["embeddings"]).checkpoint.decoder
        let media = try normal([40, 64], seed: 1), text: [Int32] = [5, 6]
        let turn: [ExampleStretch] = [.prompt(text), .media(media, .sequence), .prompt(text), .answer(text)]
        let rows = try ExampleRows(turn + turn, speech: nil, transcript: nil, decoder: decoder, adapter: nil)
        let schedule = try ExtractionSchedule(Extractor(gap: 1, keep: 0.5), layers: decoder.layerCount)
        let output = try Recording.paused { try decoder([rows.sample], adapter: nil, schedule: schedule) }
        // Each turn has 6 rows of text.
        let (first, second) = (output.rows[0].filter { $0 < 46 }, output.rows[0].filter { $0 >= 46 })
        #expect(first.count == 38 && second.count == 38)
    }

    /// What follows a turn does not exist when a session prunes the turn's media: the choice of each turn is that of a
    /// session's prefill, which the answer comes after.
    @Test func aTurnsMediaArePrunedAsInASession() throws {
        let decoder = try TrainedModel(["embeddings"]).checkpoint.decoder
        let schedule = try ExtractionSchedule(Extractor(gap: 2, keep: 0.6), layers: decoder.layerCount)
        let media = try [1, 2].map { try normal([90, 64], seed: $0) }
        let turns: [[ExampleStretch]] = (0..<2).map { turn in
            [.prompt([5, 6, 7]), .media(media[turn], .sequence), .prompt([8 + Int32(turn), 9, 10])]
        }
        let answers: [[Int32]] = [[20, 21, 22, 23], [30]]
        let rows = try ExampleRows(
            turns[0] + [.answer(answers[0])] + turns[1] + [.answer(answers[1])], speech: nil, transcript: nil,
            decoder: decoder, adapter: nil)
        let sample = rows.sample
        // The last answer is one row. A session prefills the first answer with the second turn.
        let ends = [96, sample.positions.count - 1]
        let output = try Recording.paused {
            try decoder(
                [
                    BatchSample(
                        embeddings: sample.embeddings.rows(0..<ends[1]), positions: Array(sample.positions[..<ends[1]]),
                        isMedia: Array(sample.isMedia[..<ends[1]]), isQuery: Array(sample.isQuery[..<ends[1]]),
                        turns: Array(sample.turns[..<ends[1]]))
                ], adapter: nil, schedule: schedule)
        }
        let caches = decoder.makeCaches()
        var start = 0, got: [Int] = []
        var last: Tensor?
        for end in ends {
            let range = start..<end
            var prefill = try Prefill(
                decoder, embeddings: sample.embeddings.rows(range), positions: sample.positions[range],
                roles: sample.isMedia[range].map { $0 ? TokenRole.media : .text }, schedule: schedule)
            while !prefill.isDone { try prefill.step(decoder, caches: caches, adapter: nil) }
            got += try #require(prefill.kept.last).map { start + Int($0) }
            last = try prefill.lastRows(decoder)
            start = end
        }
        let kept = output.rows[0].filter { sample.isMedia[$0] }
        #expect(got.count == 2 * 32 && kept == got)
        // The same sums of floats in another order.
        let hidden = output.hidden.rows(output.hidden.rows - 1..<output.hidden.rows)
        #expect(difference(hidden.values, try #require(last).values.map(Double.init)) < 1e-4)
    }

    private func turn(_ name: String, _ golden: Golden, _ checkpoint: Checkpoint) throws -> [TrainingExample.Piece] {
        func text(_ text: String) throws -> TrainingExample.Piece { .prompt(try checkpoint.tokenizer.encode(text)) }
        let opening = ChatTemplate.opening(), end = ChatTemplate.userEnd
        switch name {
        case "turn_image_speech":
            let speech = try checkpoint.speechNetworks.get(), vision = try checkpoint.visionNetworks.get()
            let mel = try golden.shortRecording.withUnsafeBufferPointer { try speech.mel($0) }
            return [
                try text(opening + ChatTemplate.visionStart),
                .vision(try vision.preparation.prepare(golden.image("image_tall"))), try text(ChatTemplate.visionEnd),
                .speech(windows: [mel]), try text(end),
            ]
        case "turn_video":
            let frames = try golden.videoFrames(), first = try #require(frames.first)
            var video = try VideoFrames(
                checkpoint.visionNetworks.get().preparation,
                frameSize: PixelSize(width: first.width, height: first.height), frames: frames.count)
            for frame in frames { try video.append(frame) }
            return [
                try text(opening + ChatTemplate.visionStart), .vision(try video.finish()),
                try text(ChatTemplate.visionEnd + "What happens?" + end),
            ]
        default:
            let queue = try PCMQueue(sampleRate: 16_000, channels: 1)
            try golden.sound("sound_bells").withUnsafeBufferPointer {
                try queue.append($0, sampleRate: 16_000, channels: 1)
            }
            queue.finish()
            let clips = try SoundClips(queue)
            while try !clips.read() {}
            let features = try clips.features()
            let each = try (0..<features.rows).map {
                try features.rows($0..<$0 + 1).reshaped(Array(features.shape.dropFirst()))
            }
            return [
                try text(opening), .sound(clips: each),
                try text(ChatTemplate.speechSeparator + "What do you hear?" + end),
            ]
        }
    }

    // MARK: Gradients

    /// With recomputation and dropout, so that the recomputed passes must draw the same masks. Embeddings are tied to
    /// the output head, and learn from the transcript too.
    @Test func gradientsOfEveryPartAreDerivatives() throws {
        let model = try TrainedModel(["all"], adapter: "speech")
        let objective = try LanguageObjective(
            model.checkpoint, model.trainables,
            options(model) {
                $0.regularizerWeight = 0.5
                $0.dropout = 0.2
                $0.recomputesLayers = true
            })
        let vision = try model.checkpoint.visionNetworks.get().encoder.configuration
        let pixels = 3 * vision.temporalPatch * vision.patch * vision.patch
        let example = TrainingExample(
            [
                .prompt([5, 6, 7]), .vision(PatchGrid(grid: (1, 4, 6), patches: try normal([24, pixels], seed: 3))),
                .prompt([8]), .speech(windows: [try mel(model, seed: 4)]), .prompt([9, 10]), .answer([11, 12, 13]),
                .prompt([14, 15]), .answer([16]),
            ], transcript: [20, 21, 22])
        #expect(objective.terms(of: example) == [4, 1])
        try checkGradients(
            of: [
                model.parameter(.adapter(1), "layers.2.mlp.up_proj.lora_A.weight"),
                model.parameter(.adapter(1), "layers.5.self_attn.v_proj.lora_B.weight"),
                model.parameter(.adapterProjector(1), "linear2.weight"),
                model.parameter(.speechTower, "layers.0.self_attn.v_proj.weight"),
                model.parameter(.visionTower, "blocks.0.attn.qkv.weight"),
                model.parameter(.main, "model.embed_tokens.weight"),
                model.parameter(.main, "model.layers.3.mlp.down_proj.weight"),
            ], model, objective, [example])
    }

    /// Sums and numbers of terms add up: two batches with the totals of both give the gradients of one joined batch.
    /// Answers have different lengths, and one example has no transcript. Two layers, because each layer multiplies
    /// what sums of float32 in another order differ by.
    @Test func batchesAddUpToTheJoinedBatch() throws {
        let small = try SmallCheckpoint()
        let model = try TrainedModel(["adapter", "projector"], adapter: "speech", path: small.path)
        let objective = try LanguageObjective(
            model.checkpoint, model.trainables, options(model) { $0.regularizerWeight = 0.5 })
        let examples = [
            TrainingExample(
                [
                    .prompt([5, 6]), .speech(windows: [try mel(model, seed: 1)]), .prompt([7]),
                    .answer([8, 9, 10, 11, 12]),
                ], transcript: [30, 31]),
            TrainingExample([.prompt([40, 41, 42]), .answer([43, 44, 45, 46, 47, 48, 49, 50, 51])]),
            TrainingExample([.prompt([60]), .speech(windows: [try mel(model, seed: 2)]), .prompt([61]), .answer([62])]),
            TrainingExample(
                [.prompt([70]), .speech(windows: [try mel(model, seed: 3)]), .prompt([71]), .answer([72, 73])],
                transcript: [74, 75, 76]),
        ]
        let totals = objective.totals(examples)
        #expect(totals == [17, 2])
        let joined = try objective.differentiate(examples, totals: totals, seed: 1)
        let wanted = model.takeGradients()
        let parts = try [examples[..<1], examples[1...]].map {
            try objective.differentiate(Array($0), totals: totals, seed: 1)
        }
        let got = model.takeGradients()
        #expect(difference(parts[0][0] + parts[1][0], joined[0]) < 1e-6)
        #expect(difference(parts[0][1] + parts[1][1], joined[1]) < 1e-6)
        #expect(wanted.count == model.trainables.elements.count)
        for (name, gradient) in wanted {
            let other = try #require(got[name])
            #expect(difference(other.values, gradient.values.map(Double.init)) < 1e-5, "\(name)")
        }
    }

    /// A tower whose matrix is cut for queries and for keys and values gets the same gradient in every step.
    @Test func gradientsArriveInEveryStep() throws {
        let model = try TrainedModel(["vision_tower"])
        let objective = try LanguageObjective(model.checkpoint, model.trainables, options(model))
        let vision = try model.checkpoint.visionNetworks.get().encoder.configuration
        let pixels = 3 * vision.temporalPatch * vision.patch * vision.patch
        let example = TrainingExample([
            .prompt([5]), .vision(PatchGrid(grid: (2, 2, 4), patches: try normal([16, pixels], seed: 3))),
            .prompt([6]), .answer([7]),
        ])
        func step() throws -> [String: Tensor] {
            _ = try objective.differentiate([example], totals: [1], seed: 0)
            return model.takeGradients()
        }
        let first = try step(), second = try step()
        #expect(first.count == model.trainables.elements.count)
        for (name, gradient) in first {
            let again = try #require(second[name], "\(name)")
            #expect(difference(again.values, gradient.values.map(Double.init)) < 1e-6, "\(name)")
        }
    }

    @Test func dropoutFollowsFromTheSeed() throws {
        let model = try TrainedModel(["adapter"], adapter: "speech")
        let example = TrainingExample([.prompt([5, 6, 7]), .answer([8, 9])])
        func loss(_ seed: UInt64, dropout: Double) throws -> Double {
            defer { model.clearGradients() }
            return try LanguageObjective(
                model.checkpoint, model.trainables, options(model) { $0.dropout = dropout }
            ).differentiate([example], totals: [2], seed: seed)[0]
        }
        let none = try loss(1, dropout: 0)
        #expect(try loss(1, dropout: 0.3) == loss(1, dropout: 0.3))
        #expect(Set([none, try loss(1, dropout: 0.3), try loss(2, dropout: 0.3)]).count == 3)
        let objective = try LanguageObjective(model.checkpoint, model.trainables, options(model) { $0.dropout = 0.3 })
        #expect(try difference(objective.evaluate([example])[0], none) < 1e-6, "none in evaluation")
        #expect(throws: LyraError.self) { try loss(1, dropout: 1) }
    }

    // MARK: Checks

    @Test func examplesThatCannotBeUsedAreRefused() throws {
        let model = try TrainedModel(["adapter"], adapter: "speech")
        let objective = try LanguageObjective(
            model.checkpoint, model.trainables, options(model) { $0.extractor = try? Extractor(gap: 2, keep: 0.5) })
        let speech = TrainingExample.Piece.speech(windows: [try mel(model, seed: 1)])
        try objective.check(TrainingExample([.prompt([1]), speech, .prompt([2]), .answer([2067])], transcript: [2067]))
        let cases: [([TrainingExample.Piece], [Int32]?, String)] = [
            ([.prompt([1]), speech], nil, "there is no answer"),
            ([.prompt([1]), .answer([])], nil, "there is no answer"),
            ([.prompt([]), .answer([3])], nil, "nothing comes before the answer"),
            ([.prompt([1]), .answer([2068])], nil, "the answer has the token 2068"),
            ([.prompt([-1]), .answer([3])], nil, "the prompt has the token -1"),
            ([.prompt([1]), .answer([3])], [1 << 20], "the transcript has the token 1048576"),
            ([.prompt([1]), speech, .answer([3])], nil, "follows a medium directly"),
            ([.prompt([1]), .speech(windows: []), .prompt([1]), .answer([3])], nil, "the speech has no tokens"),
        ]
        for (pieces, transcript, reason) in cases {
            #expect {
                try objective.check(TrainingExample(pieces, transcript: transcript, origin: "data.json: item 3"))
            } throws: {
                "\($0)".hasPrefix("data.json: item 3: ") && "\($0)".contains(reason)
            }
        }
    }

    @Test func anExampleWithoutANetworkForItsMediaIsRefused() throws {
        let model = try TrainedModel(["embeddings"], path: Golden.path("qwen2vl/published"))
        let objective = try LanguageObjective(model.checkpoint, model.trainables, options(model))
        #expect {
            try objective.check(
                TrainingExample(
                    [.prompt([1]), .speech(windows: [try Tensor(zeros: [80, 3000])]), .prompt([1]), .answer([3])]))
        } throws: {
            "\($0)".contains("takes no speech")
        }
    }

    @Test func numbersTooManyToCountAreRefused() throws {
        let check = ExampleCheck(vocabularySize: 8, prunesMedia: false)
        #expect {
            try check([.media(.max), .prompt([1]), .answer([1])], transcript: nil, origin: "item")
        } throws: {
            "\($0)".contains("too many to number")
        }
    }
}
