import LyraBase

/// Makes the examples of coming batches on background threads.
///
/// Batches come out in the order in which they were added, whichever example is ready first. All methods are for one
/// thread, the consumer's.
final class Prefetcher<Example: Sendable> {
    /// An example, or why it is bad.
    typealias Outcome = Result<Example, LyraError>

    /// Milliseconds between two checks for interruption while the consumer waits.
    private static var interval: Int { 20 }

    private let queue: PrefetchQueue<Example>
    private let threads: WorkerThreads
    private let make: @Sendable (_ item: Int, _ epoch: Int) throws -> Example

    /// - Parameters:
    ///   - threads: 0 makes examples on the consumer's thread, when they are taken
    ///   - make: makes the example of an item in an epoch; called on several threads
    init(threads count: Int, make: @escaping @Sendable (_ item: Int, _ epoch: Int) throws -> Example) {
        let queue = PrefetchQueue<Example>()
        (self.queue, self.make) = (queue, make)
        threads = WorkerThreads(count) {
            queue.interruption.during {
                while let job = queue.take(waits: true) { queue.finish(job, Self.outcome(job, make)) }
            }
        }
    }

    deinit {
        queue.cancel()
        threads.join()
    }

    /// Number of batches that were added and not taken.
    var count: Int { queue.batchCount }

    func add(_ items: [Int], epoch: Int) { queue.add(items, epoch: epoch) }

    /// Waits for the first batch, and removes it.
    ///
    /// - Throws: `LyraError.state` if the calling thread is interrupted; the batch then stays.
    func takeFirst() throws -> [Outcome] {
        while true {
            try Interruption.check()
            if threads.count == 0, let job = queue.take(waits: false) {
                let outcome = Self.outcome(job, make)
                do { try Interruption.check() } catch {
                    queue.putBack(job)
                    throw error
                }
                queue.finish(job, outcome)
            }
            let waiting = threads.count == 0 ? 0 : Self.interval
            if let batch = queue.removeFirst(waiting: waiting) { return batch }
        }
    }

    private static func outcome(_ job: PrefetchQueue<Example>.Job, _ make: (Int, Int) throws -> Example) -> Outcome {
        do {
            return .success(try make(job.item, job.epoch))
        } catch let error as LyraError {
            return .failure(error)
        } catch {
            return .failure(LyraError(.format, "\(error)"))
        }
    }
}

/// The batches in progress, shared by the consumer and the threads. The monitor guards all variables.
private final class PrefetchQueue<Example: Sendable>: @unchecked Sendable {
    typealias Outcome = Prefetcher<Example>.Outcome

    struct Job {
        let item: Int
        let epoch: Int
        fileprivate let batch: Batch
        fileprivate let place: Int
    }

    fileprivate final class Batch {
        var outcomes: [Outcome?]
        var missing: Int

        init(count: Int) { (outcomes, missing) = (Array(repeating: nil, count: count), count) }
    }

    private let monitor = Monitor()
    private var batches: [Batch] = []
    private var jobs: [Job] = []
    private var isCancelled = false
    let interruption = Interruption()

    var batchCount: Int { monitor.withLock { batches.count } }

    func add(_ items: [Int], epoch: Int) {
        monitor.withLock {
            let batch = Batch(count: items.count)
            batches.append(batch)
            jobs += items.enumerated().map { Job(item: $1, epoch: epoch, batch: batch, place: $0) }
            monitor.signal()
        }
    }

    /// The next example to make. Nil if there is none, or, for a thread that waits, if the work is over.
    func take(waits: Bool) -> Job? {
        monitor.withLock {
            while waits, jobs.isEmpty, !isCancelled { monitor.wait() }
            return isCancelled || jobs.isEmpty ? nil : jobs.removeFirst()
        }
    }

    func putBack(_ job: Job) { monitor.withLock { jobs.insert(job, at: 0) } }

    func finish(_ job: Job, _ outcome: Outcome) {
        monitor.withLock {
            job.batch.outcomes[job.place] = outcome
            job.batch.missing -= 1
            if job.batch.missing == 0 { monitor.signal() }
        }
    }

    /// The outcomes of the first batch; nil if they are not complete within the time.
    func removeFirst(waiting milliseconds: Int) -> [Outcome]? {
        monitor.withLock {
            guard let first = batches.first else { return [] }
            if first.missing > 0, milliseconds > 0 { monitor.wait(milliseconds: milliseconds) }
            guard first.missing == 0 else { return nil }
            batches.removeFirst()
            return first.outcomes.compactMap { $0 }
        }
    }

    func cancel() {
        monitor.withLock {
            isCancelled = true
            jobs = []
            monitor.signal()
        }
        interruption.cancel()
    }
}
