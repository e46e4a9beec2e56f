import ArgumentParser
import Lyra
import LyraBase
import LyraModel
import LyraTraining

extension TrainingStage: ExpressibleByArgument {}

/// Options that make or change a recipe.
struct RecipeArguments: ParsableArguments {
    @Option(help: ArgumentHelp("A recipe's TOML file.", valueName: "file"))
    var recipe: String?

    @Option(help: ArgumentHelp("1, 2, 3, 4 or pretrain; decides the defaults.", valueName: "stage"))
    var stage: TrainingStage?

    @Option(help: ArgumentHelp("The checkpoint to start from: its directory, or a one-file model.", valueName: "path"))
    var model: String?

    @Option(
        help: ArgumentHelp(
            "A directory with the towers; searched after the places that the checkpoint names.", valueName: "dir"))
    var towers: String?

    @Option(
        help: ArgumentHelp(
            "A file with a speech projector in place of the checkpoint's, as stage 1 writes it, for an adapter "
                + "without a projector of its own; what the run writes has it too.", valueName: "file"))
    var speechProjector: String?

    @Option(help: ArgumentHelp("A file with mm_audio_projector's tensors, for other sound.", valueName: "file"))
    var soundProjector: String?

    @Option(
        help: ArgumentHelp(
            "A file of heads to start from, as a run of a tower writes it; without it, fresh ones.", valueName: "file"))
    var heads: String?

    @Option(help: ArgumentHelp("Examples: LLaVA-style JSON or JSONL; may be repeated.", valueName: "file"))
    var data: [String] = []

    @Option(help: ArgumentHelp("Examples that are not trained on, for validation; may be repeated.", valueName: "file"))
    var validation: [String] = []

    @Option(help: ArgumentHelp("The directory for log, saved states and result.", valueName: "dir"))
    var out: String?

    @Option(
        help: ArgumentHelp(
            "What is trained, in place of the stage's: a part such as adapter or projector, or names of tensors with "
                + "*; may be repeated.", valueName: "name"))
    var train: [String] = []

    @Option(help: ArgumentHelp("The adapter: speech, long_speech, …; none for no adapter.", valueName: "name"))
    var adapter: String?

    @Option(
        help: ArgumentHelp(
            "Prune media tokens inside the language model: see 'lyra generate --help'.", valueName: "blocks=n,keep=x"),
        transform: TrainedExtractor.init)
    var extractor: TrainedExtractor?

    @Option(parsing: .unconditional, help: ArgumentHelp("Passes through the data.", valueName: "n"))
    var epochs: Int?

    @Option(parsing: .unconditional, help: ArgumentHelp("Updates of the run, in place of epochs.", valueName: "n"))
    var steps: Int?

    @Option(parsing: .unconditional, help: ArgumentHelp("The highest learning rate.", valueName: "x"))
    var learningRate: Double?

    @Option(parsing: .unconditional, help: ArgumentHelp("Examples of a batch.", valueName: "n"))
    var batch: Int?

    @Option(parsing: .unconditional, help: ArgumentHelp("Batches of an update.", valueName: "n"))
    var accumulation: Int?

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp("Of fresh parameters, the order of examples, and dropout.", valueName: "n"))
    var seed: Seed?

    @Option(parsing: .unconditional, help: ArgumentHelp("Minutes from one saved state to the next.", valueName: "n"))
    var saveEvery: Double?

    @Option(help: ModelArguments.precisionHelp)
    var precision: Precision?

    @Option(parsing: .unconditional, help: ModelArguments.threadsHelp)
    var threads: Int?

    func validate() throws {
        for (name, value) in [
            ("--epochs", epochs), ("--steps", steps), ("--batch", batch), ("--accumulation", accumulation),
            ("--threads", threads),
        ] {
            if let value, value < 1 { throw ValidationError("\(name) must be at least 1") }
        }
        for (name, value) in [("--learning-rate", learningRate), ("--save-every", saveEvery)] {
            if let value, !(value >= 0 && value.isFinite) { throw ValidationError("\(name) must be 0 or more") }
        }
        if epochs != nil, steps != nil { throw ValidationError("--epochs and --steps exclude each other") }
    }

    /// - Parameter needsAll: whether everything must be given that a run needs and has no default
    /// - Throws: `ValidationError` without a recipe's file and an option that would take its place.
    func checkPresent(needsAll: Bool) throws {
        guard recipe == nil else { return }
        if stage == nil { throw ValidationError("Missing --stage or --recipe") }
        guard needsAll else { return }
        for (name, isMissing) in [("--model", model == nil), ("--data", data.isEmpty), ("--out", out == nil)]
        where isMissing {
            throw ValidationError("Missing \(name), or --recipe with it")
        }
    }

    /// The recipe's file, or else the stage's defaults, with the options in it.
    ///
    /// - Throws: `LyraError` if the file cannot be read, or has an error.
    func build() throws -> TrainingRecipe {
        var result =
            try recipe.map { try TrainingRecipe(path: $0, stage: stage) }
            ?? TrainingRecipe(stage: stage ?? .instructions)
        if let model { result.model = model }
        if let towers { result.towers = towers }
        if let speechProjector { result.speechProjector = speechProjector }
        if let soundProjector { result.soundProjector = soundProjector }
        if let heads { result.headsStart = heads }
        if !data.isEmpty { result.data = data }
        if !validation.isEmpty { result.validation.data = validation }
        if let out { result.output = out }
        if !train.isEmpty { result.trained = train }
        if let adapter { result.adapter.name = adapter == "none" ? "" : adapter }
        if let extractor { extractor.set(&result.extractor) }
        if let epochs { (result.batch.epochs, result.batch.steps) = (epochs, nil) }
        if let steps { result.batch.steps = steps }
        if let learningRate { result.optimizer.learningRate = learningRate }
        if let batch { result.batch.size = batch }
        if let accumulation { result.batch.accumulation = accumulation }
        if let seed { result.seed = seed.value }
        if let saveEvery { result.saving.minutes = saveEvery }
        if let precision { result.precision = precision }
        if let threads { result.threads = threads }
        return result
    }
}

/// `--extractor` with its numbers.
struct TrainedExtractor {
    private let option: ExtractorOption
    private var numbers: [Substring: Substring] = [:]

    /// - Throws: `ValidationError` with the reason.
    init(_ argument: String) throws {
        option = try ExtractorOption(argument)
        for part in argument.split(separator: ",") {
            let pair = part.split(separator: "=")
            if let name = pair.first, let value = pair.last, pair.count == 2 { numbers[name] = value }
        }
    }

    /// Nil for none.
    var extractor: Extractor? { if case .on(let chosen) = option.choice { chosen } else { nil } }

    func set(_ extraction: inout TrainingRecipe.Extraction) {
        extraction.blocks = numbers["blocks"].flatMap { Int($0) }
        extraction.gap = numbers["gap"].flatMap { Int($0) }
        if let keep = numbers["keep"].flatMap({ Double($0) }) { extraction.keep = keep }
    }
}
