import LyraBase
import LyraTensor

/// Numbers that are not finite, and parameters without a gradient: runs that must not end with a result.
extension Trainer {
    /// What is not finite in an update, in words; nil if everything is.
    ///
    /// - Parameters:
    ///   - norm: of all gradients
    ///   - parts: the means of the loss's parts
    func fault(norm: Double, loss: Double, parts: [(name: String, mean: Double)]) throws -> String? {
        if let part = parts.first(where: { !$0.mean.isFinite }) { return "\(part.name) is \(words(part.mean))" }
        guard loss.isFinite else { return "the loss is \(words(loss))" }
        guard !norm.isFinite else { return nil }
        let worst = try parameters.first { trained in
            guard let gradient = trained.parameter.gradient else { return false }
            return try !GradientClipping.squareSum(gradient).isFinite
        }
        return worst.map { "the gradient of \(shown($0.name)) is not finite" } ?? "the norm of the gradients is \(norm)"
    }

    private func words(_ number: Double) -> String { number.isNaN ? "not a number" : "\(number)" }

    /// A trained parameter that is not finite. No later update can make it finite again.
    func brokenParameter() throws -> TrainedParameter? {
        try parameters.first { try !GradientClipping.squareSum($0.parameter.tensor.detached).isFinite }
    }

    /// - Throws: `LyraError.state`, naming the parameter, if a trained parameter is not finite: the run has diverged.
    func checkParameters() throws {
        guard let broken = try brokenParameter() else { return }
        let step = record.step - record.failuresInARow
        throw divergence(
            "after update \(step), the values of \(shown(broken.name)) are not finite"
                + (lastFault.map { " (and \($0) in the next update)" } ?? ""))
    }

    /// - Throws: `LyraError.state` if the last updates were left out, so that the parameters may be of no use: the run
    ///   has diverged.
    func checkUpdates(limit: Int) throws {
        let count = record.failuresInARow, first = record.step - count + 1
        guard count >= limit else { return }
        let updates = count == 1 ? "update \(first)" : "\(count) updates in a row, \(first) to \(record.step),"
        throw divergence(
            "the gradients of \(updates) are not finite"
                + (lastFault.map { ": \($0) in update \(record.step)" } ?? ""))
    }

    /// How many updates at the end of a run may be left out: one batch can be at fault. If more are, or all, then the
    /// parameters are.
    var failureLimitAtEnd: Int { record.skippedUpdates == record.step ? 1 : 2 }

    private func divergence(_ what: String) -> LyraError {
        hasDiverged = true
        return LyraError(
            .state,
            "training: \(what); begin anew (--no-resume) with a lower optimizer.learning_rate (or that of a group), or "
                + "look for extreme values in the data")
    }

    // MARK: Parameters without a gradient

    /// Trained parameters whose gradient was absent, or zero, in every update of the run.
    var unreachedParameters: [TrainedParameter] {
        zip(parameters, record.reached ?? []).filter { !$0.1 }.map(\.0)
    }

    /// What a state of an earlier version tells about `RunRecord.reached`: moments tend to 0 if no gradient follows.
    func reachedByMoments() throws -> [Bool] {
        try parameters.map { trained in
            guard let moments = optimizer.moments(of: trained.name), moments.steps > 0 else { return false }
            return try GradientClipping.norm([moments.first, moments.second]) != 0
        }
    }

    /// - Throws: `LyraError.argument` if updates were made, but no parameter has had a gradient.
    func checkReach() throws {
        guard record.examples > 0, record.skippedUpdates < record.step, unreachedParameters.count == parameters.count
        else { return }
        throw LyraError(
            .argument,
            "training: in \(record.examples) examples nothing had a gradient, so nothing was trained; "
                + (settings.needed.map { "no example has \($0), which the trained parameters need" }
                    ?? "the loss does not depend on the trained parameters"))
    }
}
