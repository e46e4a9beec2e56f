import CKernels
import LyraBase
import LyraFormats
import LyraModel
import LyraTensor

/// A training run: opens the recipe's checkpoint and data, trains, and writes what was trained.
///
///     var recipe = TrainingRecipe(stage: .instructions)
///     recipe.model = "Lyra_Mini_3B"
///     recipe.data = ["instructions.json"]
///     recipe.output = "run"
///     let run = TrainingRun(recipe)
///     let outcome = try run.run { progress in
///         print(progress.step, progress.loss)
///         return progress.seconds > 3600 ? .stop : .proceed
///     }
///     // .finished: run.result is the adapter's directory. .stopped: the same call with the same recipe continues.
///
/// The output directory gets `log.jsonl`, the saved states in `states`, and at the end an adapter's directory, a
/// projector (`non_lora_trainables.bin`) or a whole checkpoint (`model`): the smallest that holds all that was trained.
/// A tower's heads are written beside it (`heads.safetensors`).
public final class TrainingRun {
    /// What to do about a saved state in the output directory.
    public enum Resumption: Sendable {
        /// Continue from it if there is one.
        case ifPossible
        /// Continue from it; it must be there.
        case required
        /// Remove it and the log, and begin anew.
        case never
    }

    /// Bytes of free buffers that are kept for reuse where layers are not recomputed.
    private static let keptBytes = 2 << 30

    public let recipe: TrainingRecipe
    private let resumption: Resumption
    private let group: any ProcessGroup
    private let directory: RunDirectory
    /// Nil in a process that writes nothing.
    private var traces: RunTraces?
    /// Whether a loop of updates has begun without a saved state, and whether it has changed a parameter.
    private var (beganAnew, hasTrained) = (false, false)
    /// Receives messages for the user: where the run continues, the first bad examples.
    public var note: (String) -> Void = { _ in }
    /// Receives what is being prepared, and how far it is (0 of 0 if unknown); throws to abort.
    public var preparing: (_ what: String, _ done: Int, _ total: Int) throws -> Void = { _, _, _ in }
    /// What was written at the end; nil if the run has not ended.
    public private(set) var result: String?
    /// The update after which the last state was saved; nil if there is none.
    public private(set) var savedStep: Int?

    /// - Parameter group: the processes that train together, each with a run of the same recipe
    public init(
        _ recipe: TrainingRecipe, resumption: Resumption = .ifPossible, group: any ProcessGroup = SingleProcess()
    ) {
        (self.recipe, self.resumption, self.group) = (recipe, resumption, group)
        directory = RunDirectory(recipe.output, kept: recipe.saving.kept)
    }

    /// Trains until the end of the run, or until it is stopped.
    ///
    /// - Parameters:
    ///   - interruption: once raised, the run saves its state and ends, in the middle of an update too
    ///   - onProgress: called after each update; can end the run, which then saves its state
    /// - Throws: `LyraError` if recipe, checkpoint and data do not fit, if the saved state is of another recipe, if too
    ///   many examples are bad, or if the disk is full; the last saved state remains. In all processes, if in one.
    @discardableResult
    public func run(
        interruption: Interruption? = nil,
        onProgress: (TrainingProgress) throws -> TrainingDecision = { _ in .proceed }
    ) throws -> TrainingOutcome {
        (beganAnew, hasTrained) = (false, false)
        defer { traces = nil }
        return try group.endingAllOnError {
            do { return try runAlone(interruption, onProgress) } catch {
                if !hasTrained { traces?.remove(includesStates: beganAnew) }
                throw error
            }
        }
    }

    private func runAlone(
        _ interruption: Interruption?, _ onProgress: (TrainingProgress) throws -> TrainingDecision
    ) throws -> TrainingOutcome {
        try recipe.check()
        if let threads = recipe.threads { lk_set_threads(Int32(clamping: threads)) }
        // Room for the results of all layers, which each update frees and needs again.
        if !recipe.recomputesLayers { BufferPool.keep(upTo: Self.keptBytes) }
        defer { BufferPool.keep(upTo: BufferPool.limit) }
        let state = try prepareDirectory()
        let model = try RunModel(recipe, directory: directory, group: group) { [preparing] in
            try preparing("opening", $0, $1)
        }
        func train<Task, Reader>(_ task: RunTask<Task, Reader>) throws -> TrainingOutcome {
            try self.train(task, model, state, interruption, onProgress)
        }
        return switch recipe.objective {
        case .language where recipe.stage == .generator: try train(.generator(recipe, model))
        case .language: try train(.language(recipe, model))
        case .speechTower: try train(.speechTower(recipe, model))
        case .visionTower: try train(.visionTower(recipe, model))
        case .vocoder: try train(.vocoder(recipe, model))
        }
    }

    private func train<Task, Reader>(
        _ task: RunTask<Task, Reader>, _ model: RunModel, _ state: Safetensors?, _ interruption: Interruption?,
        _ onProgress: (TrainingProgress) throws -> TrainingDecision
    ) throws -> TrainingOutcome {
        let data = RunData(recipe, task.readers, group: group, check: task.check)
        let source = try data.training { [preparing] in try preparing("reading the data", $0, $1) }
        let held = try data.validation { [preparing] in try preparing("reading the validation data", $0, $1) }
        let validation = held.map { source in
            let accuracies = recipe.validation.exactMatch ? task.accuracies : []
            return ValidationSet(source, accuracies: accuracies, countRight: task.countRight)
        }
        let parameters = RunParameters(model.trainables, model.selection, recipe, heads: task.heads?.heads ?? [])
        var identity = RunIdentity(recipe: recipe.toml, processes: group.count)
        try identity.add(
            model.checkpoint, adapter: model.selection.adapter, usesVocoder: recipe.objective == .vocoder)
        try identity.add(task.heads?.heads ?? [])
        try data.identify(source, held, in: &identity)
        var settings = TrainerSettings(recipe, groups: parameters.groups)
        settings.needed = model.needed
        let trainer = try Trainer(
            task.objective, source, parameters: parameters.trained, settings: settings, identity: identity,
            validation: validation, group: group, length: task.length, bytes: task.bytes)
        if let state { try resume(trainer, state) }
        if group.isMain {
            try model.checkWritable(in: recipe.output, isFinished: trainer.record.step == trainer.steps)
            try checkHeadsStart()
        }
        func write() throws { try writeResult(model, parameters.trained, task.heads) }
        let outcome: TrainingOutcome
        do {
            outcome = try update(trainer, isResumed: state != nil, interruption, onProgress)
        } catch let error as LyraError where trainer.hasDiverged {
            noteSkipped(source.skipped)
            try end(trainer.record, of: trainer.steps, after: error, write: write)
            return .finished
        }
        savedStep = trainer.record.step
        noteSkipped(source.skipped)
        if outcome == .finished {
            noteUnreached(parameters.lackingExamples(trainer.unreachedParameters), of: parameters.trained.count)
            try write()
        }
        return outcome
    }

    /// Makes the updates that are left.
    private func update<Task, Source>(
        _ trainer: Trainer<Task, Source>, isResumed: Bool, _ interruption: Interruption?,
        _ onProgress: (TrainingProgress) throws -> TrainingDecision
    ) throws -> TrainingOutcome {
        try trainer.run(in: directory, openLog: traces?.log, interruption: interruption) { [self] progress in
            if !isResumed { beganAnew = true }
            if isResumed || progress.hasChanged { hasTrained = true }
            return try onProgress(progress)
        }
    }

    // MARK: Beginning

    /// Makes the output directory. → the state to continue from
    private func prepareDirectory() throws -> Safetensors? {
        // A run that begins anew removes the old states when it starts, after all checks.
        if group.isMain { traces = try RunTraces(creating: directory) }
        try group.barrier()
        guard resumption != .never, let step = try stepToContinue() else {
            guard resumption != .required else {
                throw LyraError(.missing, "\(recipe.output): there is no saved state to continue from")
            }
            return nil
        }
        return try explainingDamage(of: directory.state(step)) {
            let file = try Safetensors(path: directory.state(step))
            try checkRecipe(RunState.record(of: file), file.file.path)
            return file
        }
    }

    /// The update of the last saved state; or that after which the recipe ends a run that went on.
    private func stepToContinue() throws -> Int? {
        let saved = try directory.savedSteps()
        return saved.last { $0 == recipe.batch.steps } ?? saved.last
    }

    /// Adds the way out to an error about a damaged state: the newest older one that can be read.
    private func explainingDamage<R>(of path: String, _ body: () throws -> R) throws -> R {
        do { return try body() } catch let error as LyraError where error.code == .format {
            let steps = try directory.savedSteps()
            guard steps.last.map({ directory.state($0) }) == path else { throw error }
            let older = steps.dropLast().last { step in
                (try? RunState.record(of: Safetensors(path: directory.state(step)))) != nil
            }
            let advice = older.map { "remove the file to continue after update \($0), from \(directory.state($0))" }
            throw LyraError(.format, error.message + "; " + (advice ?? "begin anew without it"))
        }
    }

    /// - Throws: `LyraError.argument` that names the differences, if the state's recipe would give other numbers.
    private func checkRecipe(_ record: RunRecord, _ path: String) throws {
        let saved = try TrainingRecipe(toml: Array(record.identity.recipe.utf8), source: "\(path): its recipe")
        var recipe = recipe
        // No update follows that the number of updates would change.
        if recipe.batch.steps == record.step {
            (recipe.batch.steps, recipe.batch.epochs) = (saved.batch.steps, saved.batch.epochs)
        }
        let differences = recipe.differences(from: saved)
        guard differences.isEmpty else { throw differing(differences) }
    }

    /// - Throws: `LyraError.argument` if the run would replace the heads that it starts from: with others in their
    ///   place, it could not be continued.
    private func checkHeadsStart() throws {
        guard let start = recipe.headsStart,
            try FileSystem.resolved(start) == FileSystem.resolved(directory.heads)
        else { return }
        throw LyraError(
            .argument, "\(start): the run starts from these heads and would replace them; choose another output")
    }

    private func differing(_ differences: [String]) -> LyraError {
        LyraError(
            .argument,
            "\(recipe.output): the saved state is of another run: \(differences.joined(separator: "; ")). Use the same "
                + "recipe, choose another output, or begin anew without the state (--no-resume)")
    }

    private func resume<Task, Source>(_ trainer: Trainer<Task, Source>, _ state: Safetensors) throws {
        try explainingDamage(of: state.file.path) {
            let saved = try RunState.record(of: state).identity
            let differences = trainer.record.identity.differences(from: saved)
            guard differences.isEmpty else { throw differing(differences) }
            try trainer.resume(from: state)
        }
        savedStep = trainer.record.step
        note("continuing after update \(trainer.record.step) of \(trainer.steps)")
    }

    // MARK: Ending

    /// Ends a run that has diverged: with the best parameters, if the recipe wants those and there are some.
    ///
    /// - Parameters:
    ///   - record: where it was
    ///   - error: says what was not finite
    ///   - write: writes the result
    /// - Throws: an error that says what can be done, if there is no result, or if updates are missing.
    private func end(_ record: RunRecord, of steps: Int, after error: LyraError, write: () throws -> Void) throws {
        guard recipe.validation.writesBest, let best = record.bestStep else {
            throw LyraError(error.code, error.message + ". No result is written" + waysOut(record))
        }
        try write()
        let words = "the parameters after update \(best), which have the least validation loss"
        // The result is what it would be without the divergence, unless later updates would have been better.
        guard record.step == steps else {
            let place = result.map { " to \($0)" } ?? ""
            throw LyraError(error.code, error.message + ". The run ends early; it has written \(words)\(place)")
        }
        note("\(error.message). The result has \(words)")
    }

    /// How a run that has diverged can still have a result, if it can.
    private func waysOut(_ record: RunRecord) -> String {
        // The states of a run that changed nothing are removed.
        guard hasTrained || !beganAnew else { return "" }
        var ways: [String] = []
        // The updates that were left out had the parameters of the last that was made.
        let lastMade = record.step - record.failuresInARow
        let saved = (try? directory.savedSteps().last { $0 < lastMade && isEnd($0) }) ?? nil
        if let saved { ways.append("with batch.steps = \(saved) (--steps \(saved)), which ends at that saved state") }
        if let best = record.bestStep {
            ways.append("with validation.write_best = true, which writes the parameters after update \(best)")
        }
        return ways.isEmpty ? "" : "; the same command writes one " + ways.joined(separator: ", or ")
    }

    /// Whether a run can end at a saved state with a result: its last update was made, an update has changed something,
    /// and the recipe can have that length.
    private func isEnd(_ step: Int) -> Bool {
        var recipe = recipe
        recipe.batch.steps = step
        guard (try? recipe.check()) != nil,
            let record = try? RunState.record(of: Safetensors(path: directory.state(step)))
        else { return false }
        return record.failuresInARow == 0 && record.hasChangedParameters(warmsUp: recipe.optimizer.warmup > 0)
    }

    private func noteSkipped(_ skipped: SkippedExamples) {
        guard skipped.count > 0 else { return }
        note("left out \(skipped.count) bad examples; the first: \(skipped.reasons.first ?? "")")
    }

    private func noteUnreached(_ unreached: [TrainedParameter], of count: Int) {
        guard let first = unreached.first else { return }
        note(
            "\(unreached.count) of the \(count) trained tensors, such as \(shown(first.name)), had no gradient in any "
                + "example, so they stay as they were")
    }

    private func writeResult(_ model: RunModel, _ parameters: [TrainedParameter], _ heads: RunHeads?) throws {
        if group.isMain {
            if recipe.validation.writesBest, try FileSystem.isFile(directory.best) {
                try RunState.restoreParameters(Safetensors(path: directory.best), parameters)
            }
            try heads?.write(to: directory.heads)
            result = try model.write(to: recipe.output) { [preparing] in try preparing("writing", 0, 0) }
        }
        try group.barrier()
    }
}

extension TrainerSettings {
    init(_ recipe: TrainingRecipe, groups: [Optimizer.Group]) {
        self.init(groups: groups, length: recipe.batch.steps.map { .steps($0) } ?? .epochs(recipe.batch.epochs))
        accumulation = recipe.batch.accumulation
        schedule = recipe.optimizer.schedule
        warmupShare = recipe.optimizer.warmup
        clipping = recipe.optimizer.clipping
        failureLimit = recipe.optimizer.failureLimit
        seed = recipe.seed
        saveInterval = recipe.saving.minutes * 60
        validationInterval = recipe.validation.every
    }
}

extension TrainingRecipe.Extraction {
    /// Nil if the extractor is off.
    var extractor: Extractor? {
        get throws {
            if let blocks { return try Extractor(blocks: blocks, keep: Float(keep)) }
            return try gap.map { try Extractor(gap: $0, keep: Float(keep)) }
        }
    }
}
