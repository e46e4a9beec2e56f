import Foundation
import LyraBase
import LyraModel
import LyraTools
import TestSupport
import Testing

@testable import LyraTraining

/// A checkpoint without a speech generator, assembled of the small Qwen2-VL and fixture a's vocoder, and spoken
/// answers.
/// Removed with the last reference.
final class FreshGeneratorRun {
    static let answers = ["Four.", "It is Tuesday."]
    static let units = 10, upsampling = 2
    let files: MediaFiles
    let model: String
    private let data: String

    init() throws {
        files = try MediaFiles()
        model = files.path("assembled")
        var parts = AssemblyParts(languageModel: Golden.path("qwen2vl/published"))
        parts.vocoder = Golden.path("a/model_zoo/audio/vocoder")
        _ = try CheckpointAssembler(parts).write(to: model)
        let lines = Self.answers.enumerated().map { index, answer in
            #"{"tgt_units": [\#(index + 3)], "conversations": [{"from": "human", "value": "Well?"}, "#
                + #"{"from": "gpt", "value": "\#(answer)"}]}"#
        }
        data = try files.write(lines.joined(separator: "\n"), to: "spoken.jsonl")
    }

    /// A run of stage 4 on all answers at once, one thread, without a warm-up.
    func recipe(_ output: String, model: String? = nil, steps: Int) -> TrainingRecipe {
        var recipe = TrainingRecipe(stage: .generator)
        (recipe.model, recipe.data, recipe.output) = (model ?? self.model, [data], files.path(output))
        (recipe.batch.size, recipe.batch.steps, recipe.threads) = (2, steps, 1)
        (recipe.optimizer.warmup, recipe.optimizer.learningRate, recipe.seed) = (0, 1e-2, 5)
        return recipe
    }

    /// The same with a small generator.
    func smallRecipe(_ output: String, model: String? = nil, steps: Int) -> TrainingRecipe {
        var recipe = recipe(output, model: model, steps: steps)
        (recipe.generator.layers, recipe.generator.dim, recipe.generator.heads) = (1, 16, 2)
        (recipe.generator.inner, recipe.generator.units) = (24, Self.units)
        recipe.generator.upsampling = Self.upsampling
        return recipe
    }

    /// −ln of the probability that the positions of an answer speak one unit, if each speaks any unit with the
    /// probability p and the blank with q = e⁻⁴ · p: the unit stands at k positions beside each other, of T.
    static func firstLoss(positions: Int) -> Double {
        let p = 1 / (Double(units) + exp(-4)), q = exp(-4) * p
        let sum = (1...positions).reduce(0.0) { sum, k in
            sum + Double(positions - k + 1) * pow(p, Double(k)) * pow(q, Double(positions - k))
        }
        return -log(sum)
    }

    /// Sizes of the small generator.
    static var configuration: SpeechGeneratorConfiguration {
        var configuration = SpeechGeneratorConfiguration(
            layers: 1, dim: 16, heads: 2, inner: 24, upsampling: upsampling, units: units)
        configuration.contextRows = 1
        return configuration
    }
}

extension SpeechGeneratorConfiguration {
    /// All sizes, to compare.
    var sizes: [Int] { [layers, dim, heads, inner, upsampling, units, contextRows] }
}
