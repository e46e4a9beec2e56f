import CKernels
import LyraBase

/// What `body` makes of each index below `count`, on as many threads as compute: for work that itself uses one.
///
/// - Throws: the error of the first index that has one; `LyraError.state` if interrupted
func concurrentMap<R: Sendable>(_ count: Int, _ body: @escaping @Sendable (Int) throws -> R) throws -> [R] {
    let threads = min(Int(lk_threads()), count)
    guard threads > 1 else {
        return try (0..<count).map { index in
            try Interruption.check()
            return try body(index)
        }
    }
    let results = ResultList<R>(count: count)
    // The calling thread waits.
    try WorkerThreads.forEach(count, threads: threads, chunk: 1) { index in
        results.set(index, Result { try body(index) })
    }
    return try results.all.map { result in
        guard let result else { throw LyraError(.state, "a computation did not end") }
        return try result.get()
    }
}

/// Results that several threads set.
private final class ResultList<R: Sendable>: @unchecked Sendable {
    private let monitor = Monitor()
    private var results: [Result<R, any Error>?]

    init(count: Int) { results = Array(repeating: nil, count: count) }

    func set(_ index: Int, _ result: Result<R, any Error>) { monitor.withLock { results[index] = result } }

    var all: [Result<R, any Error>?] { monitor.withLock { results } }
}
