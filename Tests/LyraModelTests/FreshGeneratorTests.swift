import Foundation
import LyraModel
import LyraTensor
import LyraTools
import TestSupport
import Testing

/// A speech generator for a checkpoint that has none.
@Suite struct FreshGeneratorTests {
    /// Fixture a's language model and speech generator, as configuration files without weights. → their directory
    private func configurationFiles(in directory: String) throws -> String {
        let path = directory + "/configuration"
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        for name in [
            "vocab.json", "merges.txt", "added_tokens.json", "tokenizer_config.json", "generation_config.json",
        ] {
            try FileManager.default.copyItem(atPath: Golden.path("a/lyra/" + name), toPath: path + "/" + name)
        }
        let text = try String(contentsOfFile: Golden.path("a/lyra/config.json"), encoding: .utf8)
        let kept = text.split(separator: "\n").filter { line in
            !["mm_vision_tower", "mm_speech_tower", "mm_audio_tower"].contains { line.contains("\"\($0)\"") }
        }
        try kept.joined(separator: "\n").write(toFile: path + "/config.json", atomically: true, encoding: .utf8)
        return path
    }

    /// The numbers of `lyra initialize` for the same sizes and seed, and the blank's score of −4.
    @Test func itHasTheNumbersOfInitialize() throws {
        let scratch = try TemporaryDirectory(), path = scratch.path + "/made"
        _ = try CheckpointInitializer(configurationFiles(in: scratch.path), seed: 7).write(to: path)
        let made = try ModelWriter(path)
        let configuration = try #require(made.checkpoint.configuration.generator)
        let language = made.checkpoint.configuration.language
        let weights = FreshGenerator(configuration, language: language, seed: 7).weights(precision: .exact)
        let other = FreshGenerator(configuration, language: language, seed: 8).weights(precision: .exact)
        let tensors = made.tensors(.main).filter { $0.key.hasPrefix("speech_generator.") }
        for (name, tensor) in tensors {
            let values = try tensor.values().values
            #expect(try weights.floats(name, tensor.shape).values == values, "\(name)")
            guard tensor.shape.count == 2 else { continue }
            #expect(try other.floats(name, tensor.shape).values != values, "\(name)")
        }
        let bias = try weights.floats("speech_generator.output_proj.bias", [101]).values
        #expect(bias.last == -4 && bias.dropLast().allSatisfy { $0 == 0 })
        #expect(tensors.values.reduce(0) { $0 + $1.count } == configuration.parameterCount(hidden: 64))
    }

    /// Two layers of 4096 · (4 · 4096 + 3 · 11,008 + 5), with 1536 · 4096 + 4096 before and 4096 · 1001 + 1001
    /// after.
    @Test func parametersAreCountedWithoutOverflow() {
        #expect(SpeechGeneratorConfiguration.published.parameterCount(hidden: 1536) == 415_187_945)
        let most = SpeechGeneratorConfiguration(layers: .max, dim: .max, heads: 1, inner: .max, units: .max)
        #expect(most.parameterCount(hidden: .max) == .max)
    }
}
