import LyraBase
import LyraFormats
import LyraTensor

/// Trains parameters on an objective, batch by batch: updates, validation, saved states and a log.
///
/// A run follows from its settings, its source and the first parameters. With one compute thread it is the same bit for
/// bit, however often it is interrupted and resumed.
package final class Trainer<Task: Objective, Source: BatchSource> where Task.Example == Source.Example {
    let objective: Task
    let source: Source
    let validation: ValidationSet<Source>?
    let parameters: [TrainedParameter]
    let settings: TrainerSettings
    let group: any ProcessGroup
    let exchange: GradientExchange
    let schedule: Schedule
    /// Prompt rows and tokens of an example.
    let length: (Task.Example) -> Int
    /// Bytes of memory of an example's media.
    let bytes: (Task.Example) -> Int
    var optimizer: Optimizer
    /// Where the run is.
    package internal(set) var record: RunRecord
    /// What was not finite in the last update; nil if it was made.
    var lastFault: String?
    /// Whether the run ended because its numbers are not finite.
    package internal(set) var hasDiverged = false
    /// As it was in the state that the run was resumed from.
    private var resumedRecord: RunRecord?
    /// Examples that the source had left out when the run was resumed in this process.
    private var skippedBefore = 0

    /// Updates of the whole run.
    package var steps: Int { schedule.steps }

    /// - Parameters:
    ///   - parameters: all that the objective trains, each with a name of its own
    ///   - length: prompt rows and tokens of an example, for the log
    ///   - bytes: memory of an example, for `TrainerSettings.heldBytes`
    ///   - group: the processes that train together; each has a source of its own share of the batches
    /// - Throws: `LyraError.argument` if the settings are out of range or there is nothing to train or to train on.
    package init(
        _ objective: Task, _ source: Source, parameters: [TrainedParameter], settings: TrainerSettings,
        identity: RunIdentity = RunIdentity(), validation: ValidationSet<Source>? = nil,
        group: any ProcessGroup = SingleProcess(), length: @escaping (Task.Example) -> Int,
        bytes: @escaping (Task.Example) -> Int = { _ in 0 }
    ) throws {
        guard !parameters.isEmpty else { throw LyraError(.argument, "training: there is no parameter to train") }
        guard source.batchesPerEpoch > 0 else { throw LyraError(.argument, "training: there is no example") }
        guard settings.accumulation >= 1, settings.clipping > 0, settings.validationInterval >= 1 else {
            throw LyraError(
                .argument,
                "training: accumulation (\(settings.accumulation)), clipping (\(settings.clipping)) and the updates "
                    + "between validations (\(settings.validationInterval)) must be above 0")
        }
        (self.objective, self.source, self.validation) = (objective, source, validation)
        (self.parameters, self.settings, self.group) = (parameters, settings, group)
        (self.length, self.bytes) = (length, bytes)
        exchange = GradientExchange(parameters.map(\.parameter), group: group)
        schedule = try Schedule(
            settings.schedule, steps: Self.steps(settings, batchesPerEpoch: source.batchesPerEpoch),
            warmupShare: settings.warmupShare)
        optimizer = try Optimizer(groups: settings.groups)
        for trained in parameters {
            try optimizer.add(trained.name, shape: trained.parameter.shape, group: trained.group)
        }
        record = RunRecord(identity: identity)
        record.reached = parameters.map { _ in false }
    }

    private static func steps(_ settings: TrainerSettings, batchesPerEpoch: Int) throws -> Int {
        switch settings.length {
        case .steps(let steps): return steps
        case .epochs(let epochs):
            guard epochs >= 1, let batches = epochs.checkedMultiplying(by: batchesPerEpoch) else {
                throw LyraError(.argument, "training: \(epochs) epochs of \(batchesPerEpoch) batches")
            }
            // The last update may have fewer batches.
            return (batches - 1) / settings.accumulation + 1
        }
    }

    /// Batches of the next update, of this process.
    var batchCount: Int {
        guard case .epochs(let epochs) = settings.length else { return settings.accumulation }
        let all = epochs.saturatingMultiplying(by: source.batchesPerEpoch)
        return min(settings.accumulation, max(0, all - record.position))
    }

    /// Passes through the data so far.
    var epoch: Double { Double(record.position) / Double(source.batchesPerEpoch) }

    var skippedExamples: Int { source.skipped.count - skippedBefore }

    // MARK: Running

    /// Trains to the end of the run.
    ///
    /// - Parameters:
    ///   - directory: for the log and the saved states; nil for neither
    ///   - openLog: the directory's log, if the caller has it open
    ///   - interruption: once raised, the run ends with a saved state, in the middle of an update too: the update is
    ///     then made anew when the run is resumed
    ///   - onProgress: called after each update in each process; can end the run, by an error too
    /// - Throws: `LyraError` if the objective, the source or the disk fails, or if losses, gradients or parameters stay
    ///   infinite; the last saved state remains.
    package func run(
        in directory: RunDirectory?, openLog: TrainingLog? = nil, interruption: Interruption? = nil,
        onProgress: (TrainingProgress) throws -> TrainingDecision = { _ in .proceed }
    ) throws -> TrainingOutcome {
        let isWriting = group.isMain && directory != nil
        var log: TrainingLog?
        try checkAgreement()
        if isWriting, let directory {
            log = try openLog ?? TrainingLog(path: directory.log)
            try log?.removeLines(after: record.step)
            if record.step == 0 { try directory.clear() }
            try directory.removeUnfinished()
        }
        var lastSaved = MonotonicTime.seconds
        func save() throws {
            try Interruption.never { try checkParameters() }
            guard isWriting, let directory, record != resumedRecord else { return }
            log?.synchronize()
            try Interruption.never { try saveState(in: directory) }
            lastSaved = MonotonicTime.seconds
        }
        /// Nil if no validation is due, or if it was interrupted: it is then due when the run is resumed.
        func validateIfDue(_ epoch: Double) throws -> ValidationResult? {
            guard isValidationDue else { return nil }
            let result = try interruptible(interruption) { try validate(directory) } ?? nil
            if let result { try log?.write(LogLine(result, step: record.step, epoch: epoch)) }
            return result
        }
        while true {
            if try isRaised(interruption) {
                try save()
                return .interrupted
            }
            if isValidationDue {
                _ = try validateIfDue(epoch)
                continue
            }
            guard record.step < steps else { break }
            let start = MonotonicTime.seconds, wasFirstEpochOver = epoch >= 1
            guard var progress = try interruptible(interruption, { try update(since: start) }) else { continue }
            try log?.write(LogLine(progress))
            if !wasFirstEpochOver, epoch >= 1 { try checkReach() }
            progress.validation = try validateIfDue(progress.epoch)
            switch try agreed(try onProgress(progress)) {
            case .proceed:
                // While updates fail, the parameters are those of a state that may be of no use.
                if record.failuresInARow == 0, MonotonicTime.seconds - lastSaved >= settings.saveInterval {
                    try save()
                }
            case .save: try save()
            case .stop:
                try save()
                return .stopped
            }
        }
        guard record.examples > 0 else {
            let reason = source.skipped.reasons.first ?? "there was none"
            throw LyraError(.format, "no example of the run could be used, so nothing was trained: \(reason)")
        }
        try checkUpdates(limit: failureLimitAtEnd)
        try checkReach()
        try save()
        return .finished
    }

    /// Waits until all processes have read what they continue from. From here on they make the same calls.
    ///
    /// - Throws: `LyraError.state` if they would not.
    private func checkAgreement() throws {
        let own = [
            steps, source.batchesPerEpoch, parameters.count, record.step, record.position,
            Int(record.identity.checksum),
        ].map { Double($0) }
        let both = own + own.map { -$0 }
        guard try group.maximum(both) == both else {
            throw LyraError(
                .state,
                "training: the processes found different data, parameters or states; all must see the same files")
        }
    }

    /// Runs `body` so that a raised flag ends it. → nil if it did
    ///
    /// Several processes that exchange gradients must end together, so their updates are not interrupted.
    private func interruptible<R>(_ interruption: Interruption?, _ body: () throws -> R) throws -> R? {
        guard let interruption, group.count == 1 else { return try body() }
        do {
            return try interruption.during(body)
        } catch {
            clearGradients()
            guard interruption.isRaised else { throw error }
            return nil
        }
    }

    private func isRaised(_ interruption: Interruption?) throws -> Bool {
        let isRaised = interruption?.isRaised ?? false
        return group.count == 1 ? isRaised : try group.any(isRaised)
    }

    /// The decision of all processes: the one that goes furthest.
    private func agreed(_ decision: TrainingDecision) throws -> TrainingDecision {
        guard group.count > 1 else { return decision }
        let order: [TrainingDecision] = [.proceed, .save, .stop]
        let rank = try group.maximum([Double(order.firstIndex(of: decision) ?? 0)]).first ?? 0
        return order[min(max(Int(rank), 0), 2)]
    }

    func clearGradients() { for trained in parameters { trained.parameter.node.clearGradient() } }

    // MARK: Saving

    private func saveState(in directory: RunDirectory) throws {
        try directory.create()
        try RunState.write(record, parameters, optimizer, to: directory.state(record.step))
        // A state from before the failures is kept, and so are those of a longer run that is ended here.
        if record.failuresInARow == 0, record.step != resumedRecord?.step { try directory.removeOldStates() }
    }

    /// Continues from a saved state.
    ///
    /// - Throws: `LyraError.format` if the state is damaged or of other parameters.
    package func resume(from file: Safetensors) throws {
        let saved = try RunState.record(of: file)
        guard saved.step <= steps else {
            throw LyraError(
                .format, "\(file.file.path): the state is after \(saved.step) updates, but the run has \(steps)")
        }
        try RunState.restore(file, saved, parameters, &optimizer)
        let identity = record.identity
        record = saved
        record.identity = identity
        // This recipe may end the run here, after which that one must still continue it.
        record.identity.recipe = saved.identity.recipe
        record.reached = try saved.reached ?? reachedByMoments()
        resumedRecord = record
        try source.move(to: record.position)
        // The saved number is that of all processes together.
        skippedBefore = source.skipped.count - (group.isMain ? record.skippedExamples : 0)
    }
}
