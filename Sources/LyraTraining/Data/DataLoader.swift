import LyraBase
import LyraFormats

/// Makes batches of examples on background threads, a few batches ahead.
///
/// The order of the examples is a function of the list, the lengths of its examples, and the options; it does not
/// depend on the threads. Bad examples are left out and counted. With several processes, batch i of process r is batch
/// i · processes + r of the epoch; a process for which no batch is left at the end of an epoch gets an empty one.
package final class DataLoader<List: ExampleList>: BatchSource {
    package typealias Example = List.Example

    package let batchesPerEpoch: Int
    package private(set) var position = 0
    package private(set) var skipped = SkippedExamples()
    /// Identifies the lengths on which the batches depend; empty if they do not.
    package let lengthsFingerprint: String

    package let list: List
    private let options: DataLoaderOptions
    private let plan: BatchPlan
    /// The first position whose examples are not counted yet: a batch that is taken again is not counted again.
    private var counted = 0
    /// Nil until a batch is needed.
    private var prefetcher: Prefetcher<Example>?
    /// The items of the batches that the prefetcher has.
    private var pending: [[Int]] = []

    /// The largest position.
    private static var lastPosition: Int { 1 << 31 }

    /// Estimates the lengths of all examples if the batches depend on them; this reads the headers of all media files.
    ///
    /// - Parameter progress: called now and then with the number of estimated lengths and of all items; throws to abort
    /// - Throws: any error of `progress`; `LyraError.argument` if an option or a weight is out of range, or if there
    ///   are no items; `.memory`; `.state` if interrupted.
    package init(
        _ list: List, _ options: DataLoaderOptions, progress: (_ done: Int, _ total: Int) throws -> Void = { _, _ in }
    ) throws {
        try options.check()
        (self.list, self.options) = (list, options)
        let needsLengths = options.batchTokens != nil || options.shuffles && options.batchExamples > 1
        let lengths = needsLengths ? try Self.lengths(of: list, options, progress) : nil
        lengthsFingerprint = lengths.map { Self.fingerprint($0) } ?? ""
        plan = try BatchPlan(list.files, lengths: lengths, options)
        batchesPerEpoch = (plan.count - 1) / options.processes + 1
    }

    private static func lengths(
        of list: List, _ options: DataLoaderOptions, _ progress: (Int, Int) throws -> Void
    ) throws -> GrowingBuffer<Int32> {
        let count = list.files.reduce(0) { $0.saturatingAdding($1.count) }
        let lengths = try GrowingBuffer(repeating: Int32(0), count: count)
        // Each thread writes other elements.
        nonisolated(unsafe) let elements = lengths.elements
        try WorkerThreads.forEach(count, threads: options.threads, progress: { try progress($0, count) }) { item in
            elements[item] = Int32(clamping: max(list.estimatedLength(item), 0))
        }
        return lengths
    }

    private static func fingerprint(_ lengths: GrowingBuffer<Int32>) -> String {
        defer { withExtendedLifetime(lengths) {} }
        return String(CRC32.checksum(UnsafeRawBufferPointer(lengths.elements)), radix: 16)
    }

    package func move(to position: Int) throws {
        guard (0...Self.lastPosition).contains(position) else {
            throw LyraError(.argument, "there is no batch \(position); the last is \(Self.lastPosition)")
        }
        guard position != self.position else { return }
        (prefetcher, pending) = (nil, [])
        // Another run of the program counted those before.
        if skipped.seen == 0 {
            skipped.passed = position * plan.examples / plan.count
            counted = position
        }
        self.position = position
    }

    package func next() throws -> [Example] {
        let prefetcher =
            prefetcher ?? Prefetcher(threads: options.threads) { [list] in try list.example($0, epoch: $1) }
        self.prefetcher = prefetcher
        while prefetcher.count < batchesWanted {
            let next = position + prefetcher.count, items = try items(next)
            prefetcher.add(items, epoch: next / batchesPerEpoch)
            pending.append(items)
        }
        let outcomes = try prefetcher.takeFirst(), items = pending.removeFirst()
        if position >= counted { count(outcomes, of: items) }
        position += 1
        counted = max(counted, position)
        return outcomes.compactMap { try? $0.get() }
    }

    /// Counts the examples of a batch.
    private func count(_ outcomes: [Prefetcher<Example>.Outcome], of items: [Int]) {
        skipped.seen += outcomes.count
        for (item, outcome) in zip(items, outcomes) {
            if case .failure(let error) = outcome { skipped.add(error.message, at: list.place(of: item)) }
        }
    }

    /// Batches that are made now: the next one, and those ahead. A validation set is not made again ahead of time.
    private var batchesWanted: Int {
        let left = batchesPerEpoch - position % batchesPerEpoch
        return options.shuffles ? 1 + options.batchesAhead : min(1 + options.batchesAhead, left)
    }

    private func items(_ position: Int) throws -> [Int] {
        let (epoch, index) = position.quotientAndRemainder(dividingBy: batchesPerEpoch)
        let batch = index * options.processes + options.rank
        return batch < plan.count ? try plan.batch(batch, epoch: epoch) : []
    }

    // MARK: Bad examples

    /// Examples after which a share can be judged in the middle of an epoch.
    private static var examplesToJudge: Int { 1000 }
    /// At the end of an epoch, so many bad examples or so many examples are enough to judge.
    private static var leastToJudge: (bad: Int, seen: Int) { (3, 100) }
    /// Reasons that a message gives.
    private static var reasonsShown: Int { 5 }

    package func checkShare(bad: Int, of seen: Int, endsEpoch: Bool) throws {
        let isEnd = endsEpoch && (bad >= Self.leastToJudge.bad || seen >= Self.leastToJudge.seen)
        let judged = isEnd ? seen : max(seen, Self.examplesToJudge)
        guard Double(bad) > options.badShare * Double(judged) else { return }
        throw LyraError(
            .format,
            "\(bad) of \(seen) examples are bad, more than the allowed \(options.badShare * 100) %; correct the data, "
                + "or allow more (batch.bad_share)."
                + (skipped.reasons.isEmpty ? "" : " The first reasons: ")
                + skipped.reasons.prefix(Self.reasonsShown).joined(separator: "; "))
    }
}
