import LyraBase
import LyraDatasets
import LyraModel

/// The data of a run, as its recipe names them.
struct RunData<Reader: ItemReading> {
    private let recipe: TrainingRecipe
    private let group: any ProcessGroup
    private let readers: (training: Reader, validation: Reader)
    private let check: DatasetExamples<Reader>.Check

    /// - Parameters:
    ///   - readers: make examples to train on, and to validate on
    ///   - check: the objective's, of each example
    init(
        _ recipe: TrainingRecipe, _ readers: (training: Reader, validation: Reader), group: any ProcessGroup,
        check: @escaping DatasetExamples<Reader>.Check
    ) {
        (self.recipe, self.group, self.readers, self.check) = (recipe, group, readers, check)
    }

    /// The examples to train on, in a new order in each epoch.
    ///
    /// - Parameter progress: called with the number of examples whose lengths are estimated, and of all; throws to
    ///   abort
    func training(progress: (_ done: Int, _ total: Int) throws -> Void) throws -> DataLoader<DatasetExamples<Reader>> {
        try loader(recipe.data, readers.training, weights: recipe.dataWeights, shuffles: true, progress)
    }

    /// The examples to validate on, in their order; nil if the recipe has none.
    func validation(
        progress: (_ done: Int, _ total: Int) throws -> Void
    ) throws -> DataLoader<DatasetExamples<Reader>>? {
        guard !recipe.validation.data.isEmpty else { return nil }
        return try loader(recipe.validation.data, readers.validation, weights: [], shuffles: false, progress)
    }

    /// Adds the files of the examples and their media to an identity.
    ///
    /// - Throws: `LyraError` if a file cannot be read.
    func identify(
        _ training: DataLoader<DatasetExamples<Reader>>, _ validation: DataLoader<DatasetExamples<Reader>>?,
        in identity: inout RunIdentity
    ) throws {
        identity.data = try RunIdentity.fingerprint(files: recipe.data)
        identity.media = training.lengthsFingerprint + "-" + training.list.mediaFingerprint
        guard let validation else { return }
        identity.validation = try RunIdentity.fingerprint(files: recipe.validation.data)
        identity.validationMedia = validation.list.mediaFingerprint
    }

    private func loader(
        _ files: [String], _ reader: Reader, weights: [Double], shuffles: Bool, _ progress: (Int, Int) throws -> Void
    ) throws -> DataLoader<DatasetExamples<Reader>> {
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
        return try DataLoader(
            DatasetExamples(datasets, reader, seed: recipe.seed, check: check), options, progress: progress)
    }
}

extension ExampleOptions {
    /// How a recipe's run decodes media and texts.
    init(_ recipe: TrainingRecipe) {
        self.init()
        systemPrompt = recipe.systemPrompt
        imageSide = recipe.media.longestSide
        imagePixels = recipe.media.imagePixels
        framesPerSecond = recipe.media.framesPerSecond
        maxFrames = recipe.media.maxFrames
        speechSeconds = recipe.media.speechSeconds
        maxWindows = recipe.media.maxWindows
        maxLength = recipe.batch.longest
    }
}
