import Foundation
import LyraMedia
import LyraModel
import LyraTools
import TestSupport
import Testing

@testable import Lyra

/// Whole spoken turns of a model that is one GGUF file.
@Suite struct OneFileTurnTests {
    private static let turns = ["turn_text", "turn_speech", "turn_image_text", "turn_sound", "turn_video"]

    private func ask(_ session: Session, _ golden: Golden, _ turn: String) throws -> Outcome {
        switch turn {
        case "turn_speech": return try session.ask("What is said?", hearing: golden.shortRecording)
        case "turn_image_text":
            try session.feed(.image(.pixels(golden.image("image_small"))))
            return try session.ask("Describe it.")
        case "turn_sound":
            try session.feed(.sound(.samples(golden.sound("sound_bells"), sampleRate: 16_000)))
            return try session.ask("What do you hear?")
        case "turn_video":
            try session.feed(.video(.frames(golden.videoFrames())))
            return try session.ask("What happens?")
        default: return try session.ask("Hello! Who are you?")
        }
    }

    /// The fixtures are BF16, so the recipe BF16 is lossless: the ids are the reference's, and the answer is
    /// bit-identical to the directory's.
    @Test(arguments: Golden.both, turns)
    func aLosslessFileAnswersLikeTheDirectory(_ golden: Golden, _ turn: String) throws {
        let got = try ask(ConvertedFixture(golden, .bf16).session(), golden, turn)
        #expect(got.tokens == (try golden.integers(turn, "out.ids")))
        #expect(got == (try ask(golden.session { $0.speaks = true }, golden, turn)))
        #expect(!got.audio.isEmpty)
    }

    @Test(arguments: Golden.both, [Recipe.q8_0, .q4_k_m, .q4_0])
    func aQuantizedFileAnswersAndSpeaks(_ golden: Golden, _ recipe: Recipe) throws {
        let file = try ConvertedFixture(golden, recipe)
        for turn in Self.turns {
            let outcome = try ask(file.session(), golden, turn)
            #expect(outcome.stop != .none && !outcome.tokens.isEmpty)
            #expect(
                outcome.audio.count % 320 == 0 && !outcome.audio.isEmpty && outcome.audio.allSatisfy { abs($0) <= 1 })
        }
    }

    /// A saved conversation can be restored only with the model that it belongs to.
    @Test func recipesHaveDifferentFingerprints() throws {
        let prints = try [Recipe.bf16, .q8_0, .q4_0].map { recipe in
            let file = try ConvertedFixture(.a, recipe)
            return try [1, 2].map { _ in try Model(path: file.path).checkpoint.fingerprint }
        }
        #expect(prints.allSatisfy { $0[0] == $0[1] })
        #expect(Set(prints.flatMap { $0 }).count == 3)
        #expect(prints[0][0] == Golden.a.model.checkpoint.fingerprint, "nothing was rounded")
    }
}
