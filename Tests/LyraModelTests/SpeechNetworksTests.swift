import LyraTensor
import TestSupport
import Testing

@testable import LyraModel

/// From samples to prompt rows, against the reference's features, encoder and projector.
@Suite struct SpeechNetworksTests {
    /// The fixtures keep every 16th frame and row.
    private static let stride = 16

    @Test(arguments: Golden.both) func featuresEqualTheReference(_ golden: Golden) throws {
        let values = try golden.values("speech_short")
        let mel = try golden.checkpoint.speechNetworks.get().mel
        let features = try values.floats("in.pcm").withUnsafeBufferPointer { try mel($0) }.values
        let frames = mel.configuration.frameCount
        let kept = (0..<mel.configuration.melCount).flatMap { band in
            Swift.stride(from: 0, to: frames, by: Self.stride).map { features[band * frames + $0] }
        }
        #expect(difference(kept, try values.floats("out.mel")) < Golden.tolerance)
    }

    @Test(arguments: Golden.both) func encoderOutputEqualsTheReference(_ golden: Golden) throws {
        let values = try golden.values("speech_short")
        let encoded = try golden.encode(values.floats("in.pcm"))
        #expect(difference(everyRow(encoded), try values.floats("out.encoder")) < Golden.tolerance)
    }

    /// The prompt of turn_speech is text, the recording's tokens, text.
    @Test(arguments: Golden.both) func tokensOfOneWindowEqualTheReference(_ golden: Golden) throws {
        let turn = try golden.values("turn_speech").tensor("in.embeddings")
        let tokens = try golden.tokens(golden.values("speech_short").floats("in.pcm"), adapter: "speech")
        #expect(tokens.rows == (try golden.checkpoint.speechNetworks.get().windowTokens))
        let before = try golden.checkpoint.tokenizer.encode(
            "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n"
        ).count
        let wanted = turn.rows(before..<before + tokens.rows)
        #expect(difference(tokens.values, wanted.values) < Golden.tolerance)
    }

    @Test(arguments: Golden.both) func tokensOfThreeWindowsEqualTheReference(_ golden: Golden) throws {
        let tokens = try golden.tokens(golden.longRecording, adapter: "long_speech")
        #expect(tokens.rows == 3 * (try golden.checkpoint.speechNetworks.get().windowTokens))
        #expect(difference(everyRow(tokens), try golden.values("speech_long").floats("out.tokens")) < Golden.tolerance)
    }

    @Test(arguments: Golden.both) func aFewSamplesAreEncodedAsAWholeWindow(_ golden: Golden) throws {
        let values = try golden.values("speech_tail")
        let tokens = try golden.tokens(values.floats("in.pcm"), adapter: "speech")
        #expect(difference(everyRow(tokens), try values.floats("out.tokens")) < Golden.tolerance)
    }

    @Test func adaptersHaveTheirOwnProjectors() throws {
        let golden = Golden.a
        let input = try golden.checkpoint.speechNetworks.get()
        let encoded = try golden.encode(golden.values("speech_tail").floats("in.pcm"))
        let all = try [nil, golden.checkpoint.adapterIndex("speech"), golden.checkpoint.adapterIndex("long_speech")]
            .map { try input.project(encoded, adapter: $0).values }
        #expect(
            difference(all[0], all[1]) > 0.1 && difference(all[0], all[2]) > 0.1 && difference(all[1], all[2]) > 0.1)
        #expect(
            try input.project(encoded, adapter: 99).values == all[0], "an adapter without one takes the base projector")
    }

    @Test func normalizedTokensHaveLengthOne() throws {
        let tokens = try Golden.b.tokens(Golden.b.values("speech_tail").floats("in.pcm"), adapter: "speech")
        for row in 0..<tokens.rows {
            let length = tokens.rows(row..<row + 1).values.reduce(0) { $0 + $1 * $1 }.squareRoot()
            #expect(abs(length - 1) < 1e-5)  // float32 rounding of a sum of 96 squares
        }
    }

    @Test func featuresOfAnotherShapeAreRefused() throws {
        let encoder = try Golden.a.checkpoint.speechNetworks.get().encoder
        for shape in [[80, 3000], [128, 2999], [3000, 128], [384_000]] {
            let error = lyraError { _ = try encoder.begin(mel: Tensor(zeros: shape)) }
            #expect(error.code == .format && error.message.contains("[128, 3000]"))
        }
    }

    private func everyRow(_ tensor: Tensor) -> [Float] {
        Swift.stride(from: 0, to: tensor.rows, by: Self.stride).flatMap { tensor.rows($0..<$0 + 1).values }
    }
}
