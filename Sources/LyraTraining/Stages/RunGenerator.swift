import LyraBase
import LyraModel
import LyraTools

/// The speech generator that a recipe's stage 4 trains: the checkpoint's own, or a fresh one.
extension TrainingRecipe.Generator {
    private typealias Size = (
        name: String, value: KeyPath<TrainingRecipe.Generator, Int?>,
        target: WritableKeyPath<SpeechGeneratorConfiguration, Int>
    )

    private static var sizes: [Size] {
        [
            ("generator.layers", \.layers, \.layers), ("generator.dim", \.dim, \.dim),
            ("generator.heads", \.heads, \.heads), ("generator.inner", \.inner, \.inner),
            ("generator.upsampling", \.upsampling, \.upsampling), ("generator.units", \.units, \.units),
            ("generator.context_rows", \.contextRows, \.contextRows),
        ]
    }

    /// - Throws: `LyraError.argument` that names the values which the checkpoint's own generator contradicts.
    func check(against own: SpeechGeneratorConfiguration, of model: String) throws {
        let contradictions = Self.sizes.compactMap { size -> String? in
            guard let wanted = self[keyPath: size.value], wanted != own[keyPath: size.target] else { return nil }
            return "\(size.name) is \(wanted), but the checkpoint's is \(own[keyPath: size.target])"
        }
        guard !contradictions.isEmpty else { return }
        throw LyraError(
            .argument,
            "\(model): has a speech generator, which stage 4 trains as it is: "
                + contradictions.joined(separator: "; ") + ". Remove the keys from the recipe")
    }

    /// The sizes of a fresh generator.
    ///
    /// - Throws: `LyraError.argument` that names the keys whose values do not fit each other.
    func configuration() throws -> SpeechGeneratorConfiguration {
        var configuration = SpeechGeneratorConfiguration.published
        // The positions of the first token would attend to equal values only, and so could speak one unit only.
        configuration.contextRows = 1
        for size in Self.sizes {
            if let value = self[keyPath: size.value] { configuration[keyPath: size.target] = value }
        }
        guard configuration.hasEvenHeads else {
            throw LyraError(
                .argument,
                "recipe: generator.dim is \(configuration.dim); it must be an even multiple of generator.heads, "
                    + "\(configuration.heads)")
        }
        return configuration
    }
}

extension FreshGenerator {
    /// Bytes of a trained parameter: its value, its gradient, and the optimizer's two moments, in F32.
    private static let trainedBytes = 16

    /// The generator that a run makes; nil if its checkpoint has one, or the stage does not train one.
    ///
    /// - Throws: `LyraError.argument` if the recipe's sizes do not fit each other, or the checkpoint's own generator;
    ///   `.memory` if the machine cannot hold the training of a generator of these sizes.
    static func needed(_ recipe: TrainingRecipe, _ options: CheckpointOptions) throws -> FreshGenerator? {
        guard recipe.stage == .generator else { return nil }
        let (own, language) = try CheckpointLoader(recipe.model, options).generatorConfiguration()
        if let own {
            try recipe.generator.check(against: own, of: recipe.model)
            return nil
        }
        let configuration = try recipe.generator.configuration()
        try checkMemory(configuration, language, isTrained: recipe.trained.contains("speech_generator"))
        return FreshGenerator(configuration, language: language, seed: recipe.seed)
    }

    /// - Parameter isTrained: whether the whole generator is trained, not single tensors of it
    private static func checkMemory(
        _ configuration: SpeechGeneratorConfiguration, _ language: DecoderConfiguration, isTrained: Bool
    ) throws {
        let count = configuration.parameterCount(hidden: language.hiddenSize)
        let bytes = count.saturatingMultiplying(by: isTrained ? trainedBytes : MemoryLayout<Float>.size)
        do { try requireMemory(bytes) } catch {
            throw LyraError(
                .memory,
                "recipe: a speech generator of generator.layers \(configuration.layers), generator.dim "
                    + "\(configuration.dim), generator.inner \(configuration.inner) and generator.units "
                    + "\(configuration.units) has \(count) parameters; there is no memory for the \(bytes) bytes that "
                    + "its training needs. Choose smaller values")
        }
    }
}
