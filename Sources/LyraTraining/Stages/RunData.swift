import LyraBase
import LyraDatasets
import LyraModel

/// The data of a run, as its recipe names them.
struct RunData {
    private let recipe: TrainingRecipe
    private let builder: ExampleBuilder
    private let check: DatasetExamples.Check
    private let group: any ProcessGroup

    /// - Parameter check: the objective's, of each example
    /// - Throws: `LyraError.argument` if an option of the media is out of range.
    init(
        _ recipe: TrainingRecipe, _ checkpoint: Checkpoint, group: any ProcessGroup,
        check: @escaping DatasetExamples.Check
    ) throws {
        var options = ExampleOptions()
        options.systemPrompt = recipe.systemPrompt
        options.imageSide = recipe.media.longestSide
        options.imagePixels = recipe.media.imagePixels
        options.framesPerSecond = recipe.media.framesPerSecond
        options.maxFrames = recipe.media.maxFrames
        options.speechSeconds = recipe.media.speechSeconds
        options.maxWindows = recipe.media.maxWindows
        options.maxLength = recipe.batch.longest
        (self.recipe, self.check, self.group) = (recipe, check, group)
        builder = try ExampleBuilder(checkpoint, options)
    }

    /// The examples to train on, in a new order in each epoch.
    ///
    /// - Parameter progress: called with the number of examples whose lengths are estimated, and of all; throws to abort
    func training(progress: (_ done: Int, _ total: Int) throws -> Void) throws -> DataLoader<DatasetExamples> {
        try loader(recipe.data, weights: recipe.dataWeights, shuffles: true, progress)
    }

    /// The examples to validate on, in their order; nil if the recipe has none.
    func validation(progress: (_ done: Int, _ total: Int) throws -> Void) throws -> DataLoader<DatasetExamples>? {
        guard !recipe.validation.data.isEmpty else { return nil }
        return try loader(recipe.validation.data, weights: [], shuffles: false, progress)
    }

    /// Adds the files of the examples and their media to an identity.
    ///
    /// - Throws: `LyraError` if a file cannot be read.
    func identify(
        _ training: DataLoader<DatasetExamples>, _ validation: DataLoader<DatasetExamples>?,
        in identity: inout RunIdentity
    ) throws {
        identity.data = try RunIdentity.fingerprint(files: recipe.data)
        identity.media = training.lengthsFingerprint + "-" + training.list.mediaFingerprint
        guard let validation else { return }
        identity.validation = try RunIdentity.fingerprint(files: recipe.validation.data)
        identity.validationMedia = validation.list.mediaFingerprint
    }

    private func loader(
        _ files: [String], weights: [Double], shuffles: Bool, _ progress: (Int, Int) throws -> Void
    ) throws -> DataLoader<DatasetExamples> {
        let folders = MediaFolders(all: recipe.mediaDirectory)
        let datasets = try files.enumerated().map { index, file in
            (
                dataset: try IndexedDataset(path: file, folders: folders) { try progress(0, 0) },
                weight: index < weights.count ? weights[index] : 1
            )
        }
        var options = DataLoaderOptions(batchExamples: recipe.batch.size)
        options.batchTokens = recipe.batch.tokens
        (options.seed, options.shuffles) = (recipe.seed, shuffles)
        (options.rank, options.processes) = (group.rank, group.count)
        (options.threads, options.batchesAhead) = (recipe.batch.loaders, recipe.batch.ahead)
        options.badShare = recipe.batch.badShare
        return try DataLoader(DatasetExamples(datasets, builder, check: check), options, progress: progress)
    }
}
