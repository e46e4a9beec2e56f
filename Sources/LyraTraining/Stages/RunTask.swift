import LyraBase
import LyraModel

/// What a run trains on, and how it reads its examples.
struct RunTask<Task: Objective, Reader: ItemReading> where Task.Example == Reader.Example {
    let objective: Task
    let readers: (training: Reader, validation: Reader)
    /// The objective's check of an example.
    let check: DatasetExamples<Reader>.Check
    /// Rows of an example, for the log.
    let length: (Task.Example) -> Int
    /// Memory of an example, for `TrainerSettings.heldBytes`.
    let bytes: (Task.Example) -> Int
    /// As `RightCounting` has them; none where nothing can be right.
    var accuracies: [String] = []
    var countRight: ([Task.Example]) throws -> [LossSum] = { _ in [] }
    /// What is trained beside the checkpoint.
    var heads: RunHeads?
}

// MARK: Conversations

extension RunTask where Task == LanguageObjective, Reader == ExampleBuilder {
    static func language(_ recipe: TrainingRecipe, _ model: RunModel) throws -> Self {
        let adapter = model.selection.adapter
        var options = LanguageObjective.Options()
        (options.adapter, options.extractor) = (adapter, try recipe.extractor.extractor)
        options.regularizerWeight = recipe.loss.regularizer
        options.regularizerTemperature = recipe.loss.temperature
        options.regularizerGamma = recipe.loss.gamma
        options.dropout = adapter == nil ? 0 : recipe.adapter.dropout
        options.recomputesLayers = recipe.recomputesLayers
        let objective = try LanguageObjective(model.checkpoint, model.trainables, options)
        return try conversations(objective, recipe, model) { try objective.check($0) }
    }
}

extension RunTask where Task == GeneratorObjective, Reader == ExampleBuilder {
    static func generator(_ recipe: TrainingRecipe, _ model: RunModel) throws -> Self {
        var options = GeneratorObjective.Options()
        (options.adapter, options.extractor) = (model.selection.adapter, try recipe.extractor.extractor)
        options.adapterNeedsSpeech = recipe.adapter.needsSpeech
        options.recomputesLayers = recipe.recomputesLayers
        let objective = try GeneratorObjective(model.checkpoint, options)
        return try conversations(objective, recipe, model) { try objective.check($0) }
    }
}

extension RunTask where Task: AnswerMatching, Reader == ExampleBuilder {
    fileprivate static func conversations(
        _ objective: Task, _ recipe: TrainingRecipe, _ model: RunModel,
        check: @escaping DatasetExamples<ExampleBuilder>.Check
    ) throws -> Self {
        let builder = try ExampleBuilder(model.checkpoint, ExampleOptions(recipe))
        return RunTask(
            objective: objective, readers: (builder, builder), check: check, length: \.length, bytes: \.mediaBytes,
            accuracies: objective.accuracies, countRight: { try objective.countRight($0) })
    }
}

// MARK: Parts from nothing

extension RunTask where Task == TowerObjective, Reader == TowerExampleReader {
    /// - Throws: `LyraError.missing` if the checkpoint has no speech tower.
    static func speechTower(_ recipe: TrainingRecipe, _ model: RunModel) throws -> Self {
        let networks = try model.checkpoint.speechNetworks.get(), mel = networks.mel.configuration
        let framesPerSecond = Double(mel.sampleRate) / Double(max(mel.hopLength, 1))
        let wanted = recipe.augmentation
        var masking = SpectrumMasking()
        (masking.timeMasks, masking.frequencyMasks) = (wanted.timeMasks, wanted.frequencyMasks)
        masking.timeWidth = Int(min(wanted.timeWidth * framesPerSecond, Double(mel.frameCount)))
        masking.frequencyWidth = wanted.frequencyWidth
        let isMasking = wanted.timeMasks + wanted.frequencyMasks > 0
        return try tower(.speech(networks.encoder), .speech, isMasking ? masking : nil, recipe, model)
    }

    /// - Throws: `LyraError.missing` if the checkpoint has no vision tower.
    static func visionTower(_ recipe: TrainingRecipe, _ model: RunModel) throws -> Self {
        try tower(.vision(model.checkpoint.visionNetworks.get().encoder), .vision, nil, recipe, model)
    }

    private static func tower(
        _ tower: TowerObjective.Tower, _ kind: TowerExampleReader.Tower, _ masking: SpectrumMasking?,
        _ recipe: TrainingRecipe, _ model: RunModel
    ) throws -> Self {
        let heads = try RunHeads(recipe, width: tower.width)
        let objective = TowerObjective(
            tower, heads: heads.heads, weights: heads.weights, recomputesLayers: recipe.recomputesLayers)
        let media = try ExampleBuilder(model.checkpoint, ExampleOptions(recipe))
        func reader(_ masking: SpectrumMasking?) -> TowerExampleReader {
            TowerExampleReader(media: media, tower: kind, masking: masking)
        }
        return RunTask(
            objective: objective, readers: (reader(masking), reader(nil)), check: { try objective.check($0) },
            length: { objective.rows(of: $0) }, bytes: \.mediaBytes, accuracies: objective.accuracies,
            countRight: { try objective.countRight($0) }, heads: heads)
    }
}

extension RunTask where Task == VocoderObjective, Reader == VocoderExampleReader {
    /// - Throws: `LyraError.missing` if the checkpoint has no vocoder.
    static func vocoder(_ recipe: TrainingRecipe, _ model: RunModel) throws -> Self {
        let vocoder = try model.checkpoint.vocoder.get()
        var weights = VocoderObjective.Weights()
        (weights.mel, weights.stft, weights.duration) = (recipe.loss.mel, recipe.loss.stft, recipe.loss.duration)
        let objective = try VocoderObjective(vocoder, weights: weights)
        let reader = VocoderExampleReader(
            media: try ExampleBuilder(model.checkpoint, ExampleOptions(recipe)), vocoder: vocoder,
            crop: recipe.loss.crop)
        return RunTask(
            objective: objective, readers: (reader, reader), check: { try objective.check($0) },
            length: \.frames.count, bytes: { 4 * $0.target.count })
    }
}
