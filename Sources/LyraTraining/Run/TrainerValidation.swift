import LyraBase
import LyraTensor

extension Trainer {
    /// Whether a validation follows the update that was made.
    var isValidationDue: Bool {
        validation != nil && record.validatedStep < record.step
            && (record.step % settings.validationInterval == 0 || record.step == steps)
    }

    /// Computes the losses on the validation set, and saves the parameters if the loss is the least so far.
    func validate(_ directory: RunDirectory?) throws -> ValidationResult? {
        guard let validation else { return nil }
        let source = validation.source
        try source.move(to: 0)
        var sums = objective.parts.map { _ in 0.0 }, totals = objective.parts.map { _ in 0 }
        var examples = 0, rights = validation.accuracies.map { _ in LossSum() }
        for _ in 0..<source.batchesPerEpoch {
            let batch = try source.next()
            guard !batch.isEmpty else { continue }
            let added = try Recording.paused { try objective.evaluate(batch) }
            for (part, sum) in zip(sums.indices, added) { sums[part] += sum }
            for (part, count) in zip(totals.indices, terms(of: batch)) { totals[part] += count }
            examples += batch.count
            guard !rights.isEmpty else { continue }
            for (index, right) in zip(rights.indices, try Recording.paused { try validation.countRight(batch) }) {
                rights[index] += right
            }
        }
        let skipped = source.skipped
        let counts = (totals + [examples, skipped.count, skipped.seen]).map { Double($0) }
        let all = try group.sum(sums + counts + rights.map(\.sum) + rights.map { Double($0.count) })
        let parts = objective.parts.count
        let (bad, seen) = (all[2 * parts + 1], all[2 * parts + 2])
        try source.checkShare(
            bad: Int(exactly: bad.rounded()) ?? .max, of: Int(exactly: seen.rounded()) ?? .max, endsEpoch: true)
        let (loss, means) = means(
            Array(all.prefix(parts)), all[parts..<2 * parts].map { Int(exactly: $0.rounded()) ?? .max })
        let (right, of) = (2 * parts + 3, 2 * parts + 3 + rights.count)
        let accuracies = validation.accuracies.enumerated().map { index, name in
            (name: name, share: all[right + index] / max(all[of + index], 1))
        }
        guard all[2 * parts] > 0 else {
            let reason = skipped.reasons.first ?? "there was none"
            throw LyraError(.format, "no example of the validation data could be used: \(reason)")
        }
        // The loss need not depend on all parameters.
        let isBest = try loss.isFinite && record.bestLoss.map { loss < $0 } ?? true && brokenParameter() == nil
        record.validatedStep = record.step
        if isBest {
            let hasChanged = record.hasChangedParameters(warmsUp: schedule.warmupSteps > 0)
            (record.bestLoss, record.bestStep) = (loss, hasChanged ? record.step : nil)
            if group.isMain, let directory {
                try Interruption.never { try RunState.writeParameters(parameters, to: directory.best) }
            }
        }
        return ValidationResult(loss: loss, parts: means, accuracies: accuracies, isBest: isBest)
    }
}
