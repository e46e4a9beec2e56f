import LyraBase
import LyraModel
import LyraTensor
import TestSupport
import Testing

@testable import Lyra

/// Wherever an answer ends, all of its text is spoken: units and waveform cover the hidden states of all its tokens.
@Suite struct SpokenAnswerTests {
    private static let opening = "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n"
    private static let end = "<|im_end|>\n<|im_start|>assistant\n"

    /// Units and waveform of the first `count` tokens after a typed question, from their hidden states, all at once.
    private func speech(_ model: Model, _ question: String, _ tokens: [Int32], _ count: Int) throws -> Outcome {
        let checkpoint = model.checkpoint
        let ids = try checkpoint.tokenizer.encode(Self.opening + question + Self.end)
        let caches = checkpoint.decoder.makeCaches()
        var prefill = try Prefill(
            checkpoint.decoder, embeddings: checkpoint.decoder.embed(ids),
            positions: (0..<Int32(ids.count)).map { Position($0) })
        while !prefill.isDone { try prefill.step(checkpoint.decoder, caches: caches, adapter: nil) }
        let generator = try #require(checkpoint.generator)
        let prompt = try prefill.lastRows(
            checkpoint.decoder, count: 1 + generator.configuration.contextRows)
        var rows = (0..<prompt.rows).map { prompt.rows($0..<$0 + 1) }
        for (index, token) in tokens.prefix(count - 1).enumerated() {
            rows.append(
                try checkpoint.decoder.decode(
                    token, position: Position(Int32(ids.count + index)), caches: caches, adapter: nil))
        }
        var state = generator.makeState(contextRows: prompt.rows - 1)
        var spoken = Outcome()
        for row in rows { spoken.units += try generator.append(row, to: &state) }
        let stream = VocoderStream(try checkpoint.vocoder.get())
        try stream.append(spoken.units)
        stream.finish()
        let audio = GrowingBuffer<Float>()
        while stream.hasWork { try stream.produce(into: audio) }
        spoken.audio = Array(audio.elements)
        return spoken
    }

    private func expect(_ got: Outcome, coversIts question: String, _ golden: Golden) throws {
        try expect(got, coversIts: question, golden.model)
    }

    private func expect(_ got: Outcome, coversIts question: String, _ model: Model) throws {
        let wanted = try speech(model, question, got.tokens, got.tokens.count)
        #expect(got.units == wanted.units)
        #expect(got.audio == wanted.audio, "sample for sample")
        #expect(!got.audio.isEmpty)
    }

    @Test(arguments: Golden.both, [1, 2, 7, 12])
    func anAnswerOfTheGreatestLengthIsSpokenToItsEnd(_ golden: Golden, _ most: Int) throws {
        let session = try golden.session { ($0.speaks, $0.maxNewTokens) = (true, most) }
        let outcome = try session.ask("Hello! Who are you?")
        #expect(outcome.stop == .length && outcome.tokens.count == most && outcome.ends == 1)
        try expect(outcome, coversIts: "Hello! Who are you?", golden)
    }

    @Test func anAnswerThatFillsTheContextIsSpokenToItsEnd() throws {
        let golden = Golden.a
        let session = try golden.session { ($0.speaks, $0.maxNewTokens, $0.maxContextTokens) = (true, nil, 40) }
        let outcome = try session.ask("Hello! Who are you?")
        #expect(outcome.stop == .length && outcome.tokens.count == 5)
        try expect(outcome, coversIts: "Hello! Who are you?", golden)
    }

    @Test func anAnswerThatFillsTheMemoryIsSpokenToItsEnd() throws {
        let golden = Golden.a
        // The prompt and a few tokens fill one page of each layer's cache.
        let question = String(repeating: "Hello! Who are you? ", count: 24)
        let prompt = try golden.tokenizer.encode(Self.opening + question + Self.end).count
        try #require((200..<250).contains(prompt), "\(prompt) tokens")
        let page = KeyValueCache.byteCount(rows: 256, kvHeads: 2, headDim: 16, type: .float32)
        let session = try golden.session {
            ($0.speaks, $0.maxNewTokens) = (true, nil)
            $0.maxMemoryBytes = golden.model.checkpoint.decoder.layerCount * page
        }
        let outcome = try session.ask(question)
        #expect(outcome.stop == .length && outcome.tokens.count == 256 - prompt)
        try expect(outcome, coversIts: question, golden)
    }

    /// With `speech_generator_context_rows`, the generator reads the end of the prompt first. The prompt is prefilled
    /// in chunks of 512 rows: of 514 rows, the last chunk has fewer than the generator reads.
    @Test(arguments: [40, 514]) func rowsOfThePromptPrecedeTheAnswer(_ length: Int) throws {
        let scratch = try Scratch(), golden = Golden.a
        let path = try scratch.copy(Golden.path("a/lyra"), as: "lyra")
        _ = try scratch.copy(Golden.path("a/model_zoo"), as: "model_zoo")
        let key = "\"ctc_upsample_factor\""
        try scratch.edit("lyra/config.json", key, "\"speech_generator_context_rows\": 3, \(key)")
        func count(_ question: String) throws -> Int {
            try golden.tokenizer.encode(Self.opening + question + Self.end).count
        }
        let question = String(repeating: "!?", count: try (length - count("")) / (count("!?!?") - count("!?")))
        try #require(try count(question) == length)
        let model = try Model(path: path)
        let outcome = try Qwen2VL.session(model) { ($0.speaks, $0.maxNewTokens) = (true, 5) }.ask(question)
        let published = try golden.session { ($0.speaks, $0.maxNewTokens) = (true, 5) }.ask(question)
        #expect(outcome.tokens == published.tokens && outcome.units != published.units)
        try expect(outcome, coversIts: question, model)
    }

    // MARK: Stopped

    /// Steps until `count` tokens were generated. → what was read; audio only if `reads`
    private func generate(_ count: Int, _ session: Session, reads: Bool) throws -> Outcome {
        var got = Outcome()
        try session.feed(text: "Hello! Who are you?")
        try session.endTurn()
        while session.usage.generatedTokens < count {
            try #require(!session.step().contains(.end))
            got.text += session.readText()
            got.tokens += session.readTokens()
            got.units += session.readUnits()
            if reads { got.audio += session.readAudio() }
        }
        return got
    }

    private func finish(_ session: Session, _ got: inout Outcome) throws {
        got.audio += session.readAudio()  // unread audio stays readable
        let rest = try session.finish()
        got.text += rest.text
        got.tokens += rest.tokens
        got.units += rest.units
        got.audio += rest.audio
        (got.stop, got.ends, got.steps) = (rest.stop, rest.ends, rest.steps)
    }

    @Test(arguments: [1, 2, 5, 11], [false, true])
    func aStoppedAnswerIsSpokenToItsLastToken(_ count: Int, _ reads: Bool) throws {
        let golden = Golden.a
        let whole = try golden.session().ask("Hello! Who are you?")
        let session = try golden.session { $0.speaks = true }
        var got = try generate(count, session, reads: reads)
        session.control.stop()
        try finish(session, &got)
        #expect(got.stop == .stopped && got.ends == 1)
        #expect(got.tokens == Array(whole.tokens.prefix(count)), "no further token is generated")
        #expect(whole.text.starts(with: got.text))
        try expect(got, coversIts: "Hello! Who are you?", golden)
        #expect(session.usage.units == got.units.count && session.usage.audioSamples == got.audio.count)
    }

    /// After a stop, only the speech of one token and the end of the waveform remain, however long the answer would be.
    @Test func aStopIsFollowedByFewSteps() throws {
        let session = try Golden.a.session { ($0.speaks, $0.maxNewTokens) = (true, 400) }
        var got = try generate(12, session, reads: true)
        session.control.stop()
        try finish(session, &got)
        #expect(got.steps < 40, "\(got.steps)")
    }

    @Test func aStopWhileTheLastTokensAreSpokenCompletesThem() throws {
        let golden = Golden.a
        let session = try golden.session { ($0.speaks, $0.maxNewTokens) = (true, 3) }
        var got = try generate(3, session, reads: false)
        session.control.stop()
        try finish(session, &got)
        #expect(got.stop == .stopped && got.tokens.count == 3)
        try expect(got, coversIts: "Hello! Who are you?", golden)
    }

    @Test(arguments: [0, 1]) func aSecondStopEndsTheTurnAtOnce(_ between: Int) throws {
        let golden = Golden.a
        let session = try golden.session { $0.speaks = true }
        var got = try generate(4, session, reads: false)
        session.control.stop()
        for _ in 0..<between { try #require(!session.step().contains(.end)) }
        session.control.stop()
        got.tokens += session.readTokens()
        #expect(try session.step() == .end)
        #expect(session.usage.stop == .stopped && !session.isAnswering)
        let made = session.readAudio()
        #expect(made.count == session.usage.audioSamples, "generated audio stays readable")
        let wanted = try speech(golden.model, "Hello! Who are you?", got.tokens, 4)
        #expect(wanted.audio.starts(with: made) && made.count < wanted.audio.count)
        // The tokens stay in the conversation.
        let next = try session.ask("And where?")
        let items: [PromptItem] = [
            .text(Self.opening + "Hello! Who are you?" + Self.end), .ids(got.tokens),
            .text("<|im_end|>\n<|im_start|>user\nAnd where?" + Self.end),
        ]
        #expect(next.tokens == (try golden.answer(items)))
    }

    @Test func aCancelWhileAStoppedAnswerIsSpokenRollsTheTurnBack() throws {
        let golden = Golden.a
        let fresh = try golden.session { $0.speaks = true }.ask("And where?")
        let session = try golden.session { $0.speaks = true }
        _ = try generate(4, session, reads: false)
        session.control.stop()
        try #require(!session.step().contains(.end))
        session.control.cancel()
        session.control.stop()
        #expect(try session.step() == .end)
        #expect(session.usage.stop == .cancelled)
        #expect(session.readAudio().isEmpty && session.readText().isEmpty && session.readUnits().isEmpty)
        #expect(try session.ask("And where?") == fresh)
    }

    @Test func withoutSpeechAStoppedAnswerEndsWithTheNextStep() throws {
        let session = try Golden.a.session()
        _ = try generate(4, session, reads: false)
        session.control.stop()
        #expect(try session.step() == .end)
        #expect(session.usage.stop == .stopped && session.usage.generatedTokens == 4)
    }
}
