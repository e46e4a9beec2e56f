import LyraMedia
import LyraModel
import TestSupport
import Testing

@testable import Lyra

/// Images, videos, speech, sound and text in any order and any turn: cached rows give the same answers as rows that are
/// computed again.
@Suite struct MixedTurnTests {
    private static let opening = "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n"
    private static let end = "<|im_end|>\n<|im_start|>assistant\n"

    /// The prompt items from an answer to the content of the next turn.
    private func next(_ answer: Outcome, _ content: String) -> [PromptItem] {
        let end = answer.tokens.last == 2050 ? "" : "<|im_end|>"
        return [.ids(answer.tokens), .text(end + "\n<|im_start|>user\n" + content)]
    }

    @Test(arguments: Golden.both, ["none", "speech"])
    func threeTurnsEqualOnePrefillOfTheConversation(_ golden: Golden, _ adapter: String) throws {
        let session = try golden.session {
            $0.adapter = SessionOptions.AdapterChoice(adapter)
            $0.maxNewTokens = 6
        }
        let (first, second) = (try golden.image("image_small"), try golden.image("image_tall"))
        let pcm = try golden.shortRecording
        let fixed = adapter == "none" ? nil : adapter

        try session.feed(.image(.pixels(first)))
        var answer = try session.ask("Describe it.")
        var items: [PromptItem] = [
            .text(Self.opening + "<|vision_start|>"), .image(first), .text("<|vision_end|>Describe it." + Self.end),
        ]
        #expect(answer.tokens == (try golden.answer(items, adapter: fixed, limit: 6)))
        let afterFirst = session.usage

        try session.feed(pcm: pcm)
        items += next(answer, "") + [.speech(pcm), .text(Self.end)]
        answer = try session.outcome()
        #expect(answer.tokens == (try golden.answer(items, adapter: fixed, limit: 6)))
        let afterSecond = session.usage

        try session.feed(.image(.pixels(second)))
        items += next(answer, "<|vision_start|>") + [.image(second), .text("<|vision_end|>And this?" + Self.end)]
        answer = try session.ask("And this?")
        #expect(answer.tokens == (try golden.answer(items, adapter: fixed, limit: 6)))
        let afterThird = session.usage

        // Only new rows were computed. The last generated token enters the caches with the next turn.
        #expect(afterFirst.cachedTokens == 0)
        #expect(afterSecond.cachedTokens == afterFirst.promptTokens + afterFirst.generatedTokens - 1)
        #expect(
            afterThird.cachedTokens == afterSecond.cachedTokens + afterSecond.promptTokens
                + afterSecond.generatedTokens - 1)
        #expect(afterSecond.mediaTokens == (try golden.model.checkpoint.speechNetworks.get().windowTokens))
        #expect(afterThird.mediaTokens == 13 * 2 && afterFirst.mediaTokens == 15)
    }

    @Test(arguments: Golden.both) func mediaOfOneTurnKeepTheOrderOfFeeding(_ golden: Golden) throws {
        let session = try golden.session { $0.adapter = .named("speech") }
        let (small, tall) = (try golden.image("image_small"), try golden.image("image_tall"))
        let (frames, pcm) = (try golden.videoFrames(), try golden.shortRecording)
        let sound = try golden.sound("sound_click")
        try session.feed(text: "One:")
        try session.feed(.image(.pixels(small)))
        try session.feed(.image(.pixels(tall)))
        try session.feed(pcm: pcm)
        try session.feed(.video(.frames(frames)))
        try session.feed(text: "two")
        try session.feed(.sound(.samples(sound, sampleRate: 16_000)))
        try session.feed(text: "three")
        try session.feed(.image(.pixels(small)))
        let items: [PromptItem] = [
            .text(Self.opening + "One:<|vision_start|>"), .image(small), .text("<|vision_end|><|vision_start|>"),
            .image(tall), .text("<|vision_end|>"), .speech(pcm), .text("<|vision_start|>"), .frames(frames),
            .text("<|vision_end|>two"), .sound(sound), .text("\nthree<|vision_start|>"), .image(small),
            .text("<|vision_end|>" + Self.end),
        ]
        #expect(try session.outcome().tokens == (try golden.answer(items, adapter: "speech")))
    }

    @Test func anOddLastFrameIsRepeated() throws {
        let golden = Golden.a
        let frames = Array(try golden.videoFrames()[..<3])
        func answer(_ frames: [RGBImage]) throws -> [Int32] {
            let session = try golden.session()
            try session.feed(.video(.frames(frames)))
            return try session.ask("What?").tokens
        }
        #expect(try answer(frames) == answer(frames + [frames[2]]))
        expect(.argument, "at least one frame") { try golden.session().feed(.video(.frames([]))) }
    }

    @Test func soundAloneSwitchesNoAdapterOn() throws {
        let golden = Golden.a
        let session = try golden.session()
        let sound = try golden.sound("sound_click")
        try session.feed(.sound(.samples(sound, sampleRate: 16_000)))
        _ = try session.ask("What?")
        #expect(session.usage.adapter == nil)
        _ = try session.ask("And?", hearing: golden.shortRecording)
        #expect(session.usage.adapter == "speech")
        try session.feed(.image(.pixels(golden.image("image_tiny"))))
        _ = try session.ask("And this?")
        #expect(session.usage.adapter == "speech", "speech of an earlier turn keeps its adapter")
    }

    @Test func aCancelBetweenTheStepsOfAnImageRollsTheTurnBack() throws {
        let golden = Golden.a
        let session = try golden.session()
        let first = try session.ask("Hello!")
        for steps in 0..<6 {
            try session.feed(.image(.pixels(golden.image("image_small"))))
            try session.feed(text: "Describe it.")
            let outcome = try session.outcome { if $0 == steps { session.control.cancel() } }
            #expect(outcome.stop == .cancelled && outcome.tokens.isEmpty && outcome.steps == steps + 1)
        }
        let again = try session.ask("And where?")
        let fresh = try golden.session()
        #expect(try fresh.ask("Hello!").tokens == first.tokens)
        #expect(try fresh.ask("And where?").tokens == again.tokens)
    }

    @Test func imagesAreShrunkOnRequest() throws {
        let golden = Golden.a
        let picture = try RGBImage(width: 560, height: 560) { $0.update(repeating: 90, count: 560 * 560 * 3) }
        func tokens(_ limit: Int?) throws -> Int {
            let session = try golden.session { $0.maxImagePixels = limit }
            try session.feed(.image(.pixels(picture)))
            _ = try session.ask("What?")
            return session.usage.mediaTokens
        }
        #expect(try tokens(nil) == 400)
        #expect(try tokens(28 * 28 * 100) == 100)
        expect(.argument, "3136") { _ = try golden.session { $0.maxImagePixels = 100 } }
    }
}
