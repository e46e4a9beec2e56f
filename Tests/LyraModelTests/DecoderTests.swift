import LyraTensor
import TestSupport
import Testing

@testable import LyraModel

/// The language model, against the reference's logits, hidden states and greedy answers.
@Suite struct DecoderTests {
    /// The prompts are embeddings; the one with an image has positions of three axes.
    @Test(arguments: Golden.both, [("turn_text", nil), ("turn_speech", "speech"), ("turn_image_text", nil)])
    func answersEqualTheReference(_ golden: Golden, _ turn: (name: String, adapter: String?)) throws {
        let values = try golden.values(turn.name)
        let adapter = try turn.adapter.map { try #require(golden.checkpoint.adapterIndex($0)) }
        let answer = try Greedy(
            golden.checkpoint.decoder, values.tensor("in.embeddings"), values.positions(),
            next: Int32(values.integers("out.next_position")[0]), adapter: adapter, stop: [2050, 2048])
        #expect(difference(answer.firstLogits, try values.floats("out.first_logits")) < Golden.tolerance)
        #expect(difference(answer.rows, try values.floats("out.hidden")) < Golden.tolerance)
        #expect(answer.ids == (try values.integers("out.ids")))
    }

    @Test(arguments: Golden.both) func theAnswerToALongRecordingEqualsTheReference(_ golden: Golden) throws {
        let values = try golden.values("turn_long")
        let (decoder, tokenizer) = (golden.checkpoint.decoder, golden.checkpoint.tokenizer)
        let parts = try [
            decoder.embed(
                tokenizer.encode("<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n")),
            golden.tokens(golden.longRecording, adapter: "long_speech"),
            decoder.embed(tokenizer.encode("\nSummarize.<|im_end|>\n<|im_start|>assistant\n")),
        ]
        let rows = parts.reduce(0) { $0 + $1.rows }
        let embeddings = try Tensor([rows, decoder.configuration.hiddenSize], parts.flatMap(\.values))
        let answer = try Greedy(
            decoder, embeddings, values.positions(), next: Int32(values.integers("out.next_position")[0]),
            adapter: golden.checkpoint.adapterIndex("long_speech"), stop: [2050, 2048])
        #expect(difference(answer.firstLogits, try values.floats("out.first_logits")) < Golden.tolerance)
        #expect(difference(answer.rows, try values.floats("out.hidden")) < Golden.tolerance)
        #expect(answer.ids == (try values.integers("out.ids")))
    }

    /// 1500 tokens are three chunks of prefill, or 1500 decoded tokens. Both sum the same terms in different orders, so
    /// they differ by float32 rounding, which the sharp attention of these weights amplifies to some 1e-4, depending on
    /// the instruction set.
    @Test func prefillInChunksEqualsTokenByToken() throws {
        let decoder = Golden.a.checkpoint.decoder
        var random = SeededGenerator(state: 3)
        let ids = (0..<2 * Prefill.chunkRows + 333).map { _ in Int32.random(in: 0..<2062, using: &random) }
        let positions = ids.indices.map { Position(Int32($0)) }
        let (whole, single) = (decoder.makeCaches(), decoder.makeCaches())
        var prefill = try Prefill(decoder, embeddings: decoder.embed(ids), positions: positions)
        var steps = 0
        while !prefill.isDone {
            #expect(prefill.progress.total == ids.count * 8)
            try prefill.step(decoder, caches: whole, adapter: 0)
            steps += 1
        }
        #expect(steps == 3 * 8, "one chunk of one layer a step")
        #expect(prefill.progress.done == prefill.progress.total)
        var row = try decoder.embed([ids[0]])
        for (id, position) in zip(ids, positions) {
            row = try decoder.decode(id, position: position, caches: single, adapter: 0)
        }
        #expect(difference(try prefill.lastRows(decoder).values, row.values) < 1e-3)
        let (next, after) = (ids[7], Position(Int32(ids.count)))
        #expect(
            difference(
                try decoder.decode(next, position: after, caches: whole, adapter: 0).values,
                try decoder.decode(next, position: after, caches: single, adapter: 0).values) < 1e-3)
    }

    @Test func aCachedPrefixIsNotPrefilledAgain() throws {
        let values = try Golden.b.values("turn_text")
        let (decoder, positions) = (Golden.b.checkpoint.decoder, try values.positions())
        let embeddings = try values.tensor("in.embeddings")
        let caches = decoder.makeCaches()
        var last: Tensor?
        for range in [0..<1, 1..<9, 9..<35] {
            var prefill = try Prefill(decoder, embeddings: embeddings.rows(range), positions: Array(positions[range]))
            while !prefill.isDone { try prefill.step(decoder, caches: caches, adapter: nil) }
            last = try prefill.lastRows(decoder)
        }
        let logits = try decoder.logits(#require(last)).values
        #expect(difference(logits, try values.floats("out.first_logits")) < Golden.tolerance)
    }

    @Test func theInputIsNotWrittenTo() throws {
        let decoder = Golden.a.checkpoint.decoder
        let embeddings = try decoder.embed([1, 2, 3])
        let before = embeddings.values
        var prefill = try Prefill(decoder, embeddings: embeddings, positions: (0..<3).map { Position($0) })
        let caches = decoder.makeCaches()
        while !prefill.isDone { try prefill.step(decoder, caches: caches, adapter: nil) }
        #expect(embeddings.values == before)
    }

    @Test func wrongArgumentsAreErrors() throws {
        let decoder = Golden.a.checkpoint.decoder
        for id in [-1, 2068, .max, .min] as [Int32] {
            expect(.argument, "token \(id)", "2068") { _ = try decoder.embed([id]) }
        }
        let two = try decoder.embed([1, 2])
        expect(.argument) { _ = try Prefill(decoder, embeddings: two, positions: [Position(0)]) }
        expect(.argument) { _ = try Prefill(decoder, embeddings: Tensor(zeros: [0, 64]), positions: []) }
        let unfinished = try Prefill(decoder, embeddings: two, positions: [Position(0), Position(1)])
        expect(.state) { _ = try unfinished.lastRows(decoder) }
    }

    /// Every adapter gives its own answer, and none changes the answer without an adapter.
    @Test func adaptersAreChosenByIndex() throws {
        let checkpoint = Golden.a.checkpoint
        #expect(checkpoint.adapters.sorted() == ["long_speech", "speech"])
        #expect(checkpoint.adapterIndex("speech_lora") == checkpoint.adapterIndex("speech"))
        #expect(checkpoint.adapterIndex("song") == nil)
        let results = try [nil, 0, 1, 2].map { adapter in
            try checkpoint.decoder.decode(
                17, position: Position(0), caches: checkpoint.decoder.makeCaches(), adapter: adapter
            )
            .values
        }
        #expect(difference(results[1], results[0]) > 0.01)
        #expect(difference(results[2], results[0]) > 0.01)
        #expect(difference(results[1], results[2]) > 0.01)
        #expect(results[3] == results[0], "an index past the last is no adapter")
    }
}
