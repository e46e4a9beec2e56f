import LyraBase
import LyraTensor

extension Trainer {
    /// The batches of an update, with what is known before the forward pass.
    private struct Load {
        var batches: [Batch]
        /// Terms of each part of the loss, in all batches and processes.
        let totals: [Int]
        /// In all processes.
        let examples: Int
        let tokens: Int
        let skipped: Int
    }

    private struct Batch {
        /// Nil if the batch is made again when it is computed, so that the media of an update need not all be in
        /// memory.
        var examples: [Task.Example]?
        let count: Int
        /// Terms of each part of the loss.
        let terms: [Int]
    }

    /// Makes one update.
    ///
    /// - Parameter start: in seconds, when the update began
    /// - Throws: before anything has changed, except for what the source has given out: the next call starts there
    ///   again.
    func update(since start: Double) throws -> TrainingProgress {
        defer { clearGradients() }
        var load = try load()
        let sums = try differentiate(&load)
        let squares = try parameters.map { try $0.parameter.gradient.map(GradientClipping.squareSum) ?? 0 }
        let norm = squares.reduce(0, +).squareRoot()
        let (loss, parts) = means(sums, load.totals)
        let factor = schedule.factor(at: record.step)
        lastFault = try fault(norm: norm, loss: loss, parts: parts)
        let isFinite = lastFault == nil
        if isFinite {
            try step(norm: norm, rateFactor: factor)
            record.reached = zip(record.reached ?? [], squares).map { $0 || $1 > 0 }
        } else {
            try checkParameters()
        }
        advance(load, isMade: isFinite, seconds: MonotonicTime.seconds - start)
        try checkUpdates(limit: settings.failureLimit)
        let seconds = max(MonotonicTime.seconds - start, 1e-9)
        return TrainingProgress(
            step: record.step, steps: steps, epoch: epoch, loss: parts.isEmpty ? .nan : loss, parts: parts,
            learningRate: (settings.groups.first?.learningRate ?? 0) * factor,
            gradientNorm: norm, isLeftOut: !isFinite, examples: record.examples, tokens: record.tokens,
            examplesPerSecond: Double(load.examples) / seconds, tokensPerSecond: Double(load.tokens) / seconds,
            seconds: record.seconds, skippedExamples: record.skippedExamples,
            skippedUpdates: record.skippedUpdates)
    }

    private func load() throws -> Load {
        if source.position != record.position { try source.move(to: record.position) }
        var batches: [Batch] = [], totals = objective.parts.map { _ in 0 }
        var (count, tokens, held) = (0, 0, 0)
        for number in 0..<batchCount {
            let examples = try source.next(), terms = terms(of: examples)
            totals = zip(totals, terms).map { $0.saturatingAdding($1) }
            count += examples.count
            tokens = examples.reduce(tokens) { $0.saturatingAdding(length($1)) }
            if number > 0 { held = examples.reduce(held) { $0.saturatingAdding(bytes($1)) } }
            batches.append(
                Batch(examples: held <= settings.heldBytes ? examples : nil, count: examples.count, terms: terms))
        }
        let counts = [count, tokens, skippedExamples, source.skipped.seen.saturatingAdding(source.skipped.passed)]
        let sums = try group.sum((totals + counts).map { Double($0) }).map { Int(exactly: $0.rounded()) ?? .max }
        let parts = totals.count, perEpoch = source.batchesPerEpoch
        try source.checkShare(
            bad: sums[parts + 2], of: sums[parts + 3],
            endsEpoch: source.position / perEpoch > record.position / perEpoch)
        return Load(
            batches: batches, totals: Array(sums.prefix(parts)), examples: sums[parts], tokens: sums[parts + 1],
            skipped: sums[parts + 2])
    }

    /// Makes a batch again.
    ///
    /// - Throws: `LyraError.state` if it is no longer what was counted.
    private func examples(again batch: Batch, at position: Int) throws -> [Task.Example] {
        if source.position != position { try source.move(to: position) }
        let examples = try source.next()
        guard examples.count == batch.count, terms(of: examples) == batch.terms else {
            throw LyraError(
                .state,
                "training: examples of batch \(position) changed while the update was made; do not write to the data "
                    + "or the media during a run")
        }
        return examples
    }

    /// The number of terms of each part.
    func terms(of examples: some Sequence<Task.Example>) -> [Int] {
        var totals = objective.parts.map { _ in 0 }
        for example in examples {
            for (part, count) in zip(totals.indices, objective.terms(of: example)) {
                totals[part] = totals[part].saturatingAdding(count)
            }
        }
        return totals
    }

    /// Computes the gradients of all batches and processes. → the sum of each part over their terms
    private func differentiate(_ load: inout Load) throws -> [Double] {
        var sums = objective.parts.map { _ in 0.0 }
        // Gradients are sent to the other processes while the last batch completes them.
        let last = load.batches.lastIndex { $0.count > 0 }
        for index in load.batches.indices where load.batches[index].count > 0 {
            let position = record.position + index
            let examples = try load.batches[index].examples ?? examples(again: load.batches[index], at: position)
            load.batches[index].examples = nil  // frees the memory early
            let added = try objective.differentiate(
                examples, totals: load.totals, seed: dropoutSeed(batch: position),
                observer: index == last ? exchange.observer : nil)
            for (part, sum) in zip(sums.indices, added) { sums[part] += sum }
        }
        try exchange.finish()
        return try group.sum(sums)
    }

    /// Another seed for each batch of each process, the same whenever the batch is computed.
    private func dropoutSeed(batch: Int) -> UInt64 {
        var random = SplitMix64(seed: settings.seed)
        let number = UInt64(truncatingIfNeeded: batch) &* UInt64(group.count) &+ UInt64(group.rank)
        var mixed = SplitMix64(seed: random.next() ^ number)
        return mixed.next()
    }

    /// Σ weight · mean, and the means of the parts that have terms.
    func means(_ sums: [Double], _ totals: [Int]) -> (loss: Double, parts: [(name: String, mean: Double)]) {
        var loss = 0.0, means: [(name: String, mean: Double)] = []
        for (part, (sum, total)) in zip(objective.parts, zip(sums, totals)) where total > 0 {
            means.append((part.name, sum / Double(total)))
            loss += part.weight * sum / Double(total)
        }
        return (loss, means)
    }

    /// Changes all parameters that have a gradient.
    private func step(norm: Double, rateFactor: Double) throws {
        guard let scale = GradientClipping.factor(norm: norm, limit: settings.clipping) else { return }
        for trained in parameters {
            guard let gradient = trained.parameter.gradient else { continue }
            try optimizer.update(
                trained.name, trained.parameter, gradient: gradient, rateFactor: rateFactor, gradientScale: scale)
        }
    }

    private func advance(_ load: Load, isMade: Bool, seconds: Double) {
        record.step += 1
        record.position += load.batches.count
        record.examples = record.examples.saturatingAdding(load.examples)
        record.tokens = record.tokens.saturatingAdding(load.tokens)
        record.skippedExamples = load.skipped
        record.seconds += seconds
        record.failuresInARow = isMade ? 0 : record.failuresInARow + 1
        record.skippedUpdates += isMade ? 0 : 1
    }
}
