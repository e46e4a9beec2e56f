import LyraText
import TestSupport
import Testing

@testable import Lyra

/// Several turns in one session: cached rows give the same answers as rows that are computed again.
@Suite struct ConversationTests {
    private static let opening = "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n"
    private static let end = "<|im_end|>\n<|im_start|>assistant\n"
    private static let next = "\n<|im_start|>user\n"

    /// What a later turn adds to the prompt: the last answer with its end token, and the user's content.
    private func follow(_ outcome: Outcome, _ content: [PromptItem]) -> [PromptItem] {
        let isClosed = outcome.tokens.last == 2050
        return [.ids(outcome.tokens), .text((isClosed ? "" : "<|im_end|>") + Self.next)] + content
    }

    @Test(arguments: Golden.both) func laterTurnsEqualOnePrefillOfTheConversation(_ golden: Golden) throws {
        let session = try golden.session { $0.maxNewTokens = 8 }
        var items: [PromptItem] = [.text(Self.opening + "Hello! Who are you?" + Self.end)]
        var outcome = try session.ask("Hello! Who are you?")
        #expect(outcome.tokens == (try golden.answer(items, limit: 8)))
        for question in ["And where?", "Tell me more\nof it.", "Enough."] {
            items.removeLast()
            items = history(items, outcome, question, golden)
            outcome = try session.ask(question)
            #expect(outcome.tokens == (try golden.answer(items, limit: 8)), "\(question)")
        }
    }

    /// Joins neighboring texts before they are tokenized where the session does: within a turn, not across an answer.
    private func history(
        _ items: [PromptItem], _ outcome: Outcome, _ question: String, _ golden: Golden
    ) -> [PromptItem] {
        let first = items.isEmpty ? [PromptItem.text(Self.opening + "Hello! Who are you?" + Self.end)] : items
        let isClosed = outcome.tokens.last == 2050
        let turn = (isClosed ? "" : "<|im_end|>") + Self.next + question + Self.end
        return first + [.ids(outcome.tokens), .text(turn), .text("")]
    }

    @Test func aRecordingInALaterTurnEqualsOnePrefillOfTheConversation() throws {
        let golden = Golden.a
        let session = try golden.session { $0.adapter = .named("speech") }
        let pcm = try golden.shortRecording
        let first = try session.ask("Hello!")
        let second = try session.ask("What is said?", hearing: pcm)
        let items =
            [.text(Self.opening + "Hello!" + Self.end)] as [PromptItem]
            + follow(first, [.speech(pcm), .text("\nWhat is said?" + Self.end)])
        #expect(second.tokens == (try golden.answer(items, adapter: "speech")))
    }

    @Test func textAndRecordingsKeepTheOrderOfFeeding() throws {
        let golden = Golden.a
        let pcm = try golden.shortRecording
        let session = try golden.session { $0.adapter = .named("speech") }
        try session.feed(text: "First ")
        try session.feed(text: "this:")
        try session.feed(pcm: pcm)
        try session.feed(text: "and then")
        try session.feed(pcm: Array(pcm[..<4000]))
        session.endRecording()
        try session.feed(pcm: Array(pcm[4000..<9000]))
        let items: [PromptItem] = [
            .text(Self.opening + "First this:"), .speech(pcm), .text("\nand then"), .speech(Array(pcm[..<4000])),
            .speech(Array(pcm[4000..<9000])), .text(Self.end),
        ]
        #expect(try session.outcome().tokens == (try golden.answer(items, adapter: "speech")))
        #expect(session.usage.mediaTokens == 900)
    }

    @Test func usageCountsComputedAndCachedTokens() throws {
        let golden = Golden.a
        let session = try golden.session { $0.speaks = true }
        let first = try session.ask("Hello! Who are you?")
        #expect(session.usage.promptTokens == 35)
        #expect(session.usage.mediaTokens == 0 && session.usage.cachedTokens == 0)
        #expect(session.usage.generatedTokens == first.tokens.count)
        #expect(session.usage.units == first.units.count && session.usage.audioSamples == first.audio.count)
        let timings = session.usage.timings
        #expect(
            timings.firstToken > 0 && timings.firstAudio >= timings.firstToken && timings.total >= timings.firstAudio)
        #expect(timings.prefill > 0 && timings.decode > 0 && timings.speech > 0)
        let second = try session.ask("What is said?", hearing: golden.shortRecording)
        // The cache holds all but the last token of the first answer, which is computed with the second turn.
        #expect(first.stop == .length)
        #expect(session.usage.cachedTokens == 35 + first.tokens.count - 1)
        let before = try golden.tokenizer.encode("<|im_end|>\n<|im_start|>user\n").count
        let after = try golden.tokenizer.encode("\nWhat is said?" + Self.end).count
        #expect(session.usage.promptTokens == 1 + before + 300 + after)
        #expect(session.usage.mediaTokens == 300)
        #expect(session.usage.generatedTokens == second.tokens.count)
    }

    @Test func streamedTextIsWholeCharactersAndTheWholeText() throws {
        let golden = Golden.a
        for (seed, question) in ["Hello!", "你好", "naïve 😀", "x"].enumerated() {
            let session = try golden.session {
                ($0.sampling, $0.temperature, $0.topK, $0.topP) = (.random, 3, 0, 1)
                ($0.seed, $0.maxNewTokens) = (UInt64(seed), 200)
            }
            try session.feed(text: question)
            try session.endTurn()
            var pieces: [[UInt8]] = []
            var tokens: [Int32] = []
            while session.isAnswering {
                _ = try session.step()
                tokens += session.readTokens()
                // Pieces of at most 5 bytes, then the rest.
                while session.hasText { pieces.append(session.readText(limit: 5)) }
            }
            #expect(pieces.allSatisfy { String(validating: $0, as: UTF8.self) != nil })
            var whole = Detokenizer(golden.tokenizer)
            let ids = tokens.filter { $0 != 2050 && $0 != 2048 }
            #expect(pieces.flatMap { $0 } == Array((ids.map { whole.append($0) }.joined() + whole.finish()).utf8))
            #expect(pieces.count > 20)
        }
    }

    @Test func resetForgetsEverythingButTheOptions() throws {
        let golden = Golden.a
        let session = try golden.session {
            ($0.sampling, $0.temperature, $0.topK, $0.topP, $0.seed) = (.random, 2, 0, 1, 77)
        }
        let fresh = try session.ask("Hello!")
        _ = try session.ask("What is said?", hearing: golden.shortRecording)
        try session.reset()
        #expect(session.usage.promptTokens == 0 && session.usage.adapter == nil)
        #expect(try session.ask("Hello!") == fresh, "the seed starts over")
        try session.feed(text: "Half a turn")
        try session.reset()
        expect(.state) { try session.endTurn() }
        try session.feed(text: "A turn")
        try session.endTurn()
        for _ in 0..<9 { _ = try session.step() }
        try session.reset()
        #expect(!session.isAnswering && session.readText().isEmpty && session.readTokens().isEmpty)
        #expect(try session.ask("Hello!") == fresh)
    }

    @Test func theSystemPromptComesFromTheOptionsOrIsSetBeforeTheFirstTurn() throws {
        let golden = Golden.b
        let wanted = try golden.answer([
            .text("<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHello!" + Self.end)
        ])
        let given = try golden.session { $0.systemPrompt = "Be brief." }
        #expect(try given.ask("Hello!").tokens == wanted)
        let set = try golden.session()
        try set.setSystemPrompt("Be brief.")
        #expect(try set.ask("Hello!").tokens == wanted)
        expect(.state) { try set.setSystemPrompt("Be long.") }
        try set.reset()
        try set.setSystemPrompt("")
        #expect(
            try set.ask("Hello!").tokens
                == (try golden.answer([.text("<|im_start|>system\n<|im_end|>\n<|im_start|>user\nHello!" + Self.end)])))
    }

    @Test func anAnswerHasAtMostTheAllowedTokens() throws {
        for limit in [1, 2, 7] {
            let session = try Golden.a.session { ($0.maxNewTokens, $0.speaks) = (limit, true) }
            let outcome = try session.ask("Hello! Who are you?")
            #expect(outcome.tokens == Array(try Golden.a.integers("turn_text", "out.ids").prefix(limit)))
            #expect(outcome.stop == .length)
        }
        // 35 tokens of prompt in a context of 40 leave room for 5.
        let session = try Golden.a.session { $0.maxContextTokens = 40 }
        #expect(try session.ask("Hello! Who are you?").tokens.count == 5)
    }

    @Test func callsOutOfOrderAreStateErrors() throws {
        let session = try Golden.a.session()
        expect(.state) { _ = try session.step() }
        expect(.state) { try session.endTurn() }
        try session.feed(text: "Hello!")
        #expect(try session.step() == [], "there is nothing to do before more is fed")
        try session.endTurn()
        expect(.state) { try session.endTurn() }
        expect(.state) { try session.feed(text: "more") }
        expect(.state) { try session.feed(pcm: [0]) }
        #expect(try session.finish().ends == 1)
    }

    @Test func optionsOutOfRangeAreArgumentErrors() throws {
        let changes: [(inout SessionOptions) -> Void] = [
            { $0.temperature = 0 }, { $0.temperature = -1 }, { $0.temperature = .nan }, { $0.temperature = .infinity },
            { $0.topK = -1 }, { $0.topP = 1.5 }, { $0.topP = .nan }, { $0.minP = -0.1 }, { $0.minP = .nan },
            { $0.repetitionPenalty = 0 }, { $0.repetitionPenalty = .nan }, { $0.maxNewTokens = 0 },
            { $0.maxNewTokens = -5 }, { $0.maxContextTokens = 0 }, { $0.adapter = .named("song") },
            { $0.topK = .max }, { $0.maxNewTokens = .max }, { $0.maxContextTokens = .max }, { $0.limitPixels = .max },
            { $0.limitPixels = 0 }, { $0.maxImagePixels = .max }, { $0.maxImagePixels = .min },
            { $0.maxMemoryBytes = .max }, { $0.maxMemoryBytes = .min }, { $0.limitSeconds = .nan },
            { $0.limitSeconds = .infinity }, { $0.limitSeconds = -.leastNonzeroMagnitude },
        ]
        for change in changes { expect(.argument) { _ = try Golden.a.session(change) } }
        let session = try Golden.a.session()
        for rate in [0, -1, .nan, .infinity, 1001] {
            var options = VideoOptions()
            options.framesPerSecond = rate
            expect(.argument, "frames_per_second is \(rate)") { try session.feed(.video(.file("none"), options)) }
        }
        for frames in [0, -1, 65_537, Int.min, Int.max] {
            var options = VideoOptions()
            options.maxFrames = frames
            expect(.argument, "max_frames is \(frames)") { try session.feed(.video(.file("none"), options)) }
        }
    }
}
