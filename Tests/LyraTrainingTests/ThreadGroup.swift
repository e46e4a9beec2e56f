import Foundation
import LyraBase

@testable import LyraTraining

/// Threads that stand for processes. The last one that begins a sum computes it.
final class ThreadGroup: ProcessGroup, @unchecked Sendable {
    let rank, count: Int
    private let board: Board
    /// Sums of gradients that this process has begun.
    private(set) var begun = 0
    private var exchanges = 0

    private init(_ rank: Int, of count: Int, _ board: Board) {
        (self.rank, self.count, self.board) = (rank, count, board)
    }

    /// Runs `body` in `count` threads. → their results
    static func run<R>(_ count: Int, _ body: @escaping @Sendable (ThreadGroup) throws -> R) throws -> [R] {
        let board = Board(), results = Results<R>(count), done = DispatchSemaphore(value: 0)
        for rank in 0..<count {
            Thread {
                let result = Result { try body(ThreadGroup(rank, of: count, board)) }
                if case .failure = result { board.change { board.isBroken = true } }
                results.set(rank, result)
                done.signal()
            }.start()
        }
        for _ in 0..<count { done.wait() }
        return try results.all()
    }

    func sum(_ values: [Double]) throws -> [Double] { try combine(values, +) }
    func maximum(_ values: [Double]) throws -> [Double] { try combine(values, max) }
    func barrier() throws { _ = try combine([], +) }
    func leave() {}
    func abort(_ message: String) {}

    private func combine(_ values: [Double], _ operation: (Double, Double) -> Double) throws -> [Double] {
        let index = exchanges
        exchanges += 1
        board.change { board.values[index, default: [:]][rank] = values }
        return try board.wait { board in
            guard let all = board.values[index], all.count == count else { return nil }
            return (1..<count).reduce(all[0] ?? []) { zip($0, all[$1] ?? []).map(operation) }
        }
    }

    func begin(sum bucket: GradientBucket) throws {
        let index = begun
        begun += 1
        board.change {
            board.buckets[index, default: [:]][rank] = bucket
            if let all = board.buckets[index], all.count == count { board.add(all) }
        }
    }

    func finishAll() throws {
        try board.wait { board in
            (0..<begun).allSatisfy { board.buckets[$0]?.count == count } ? () : nil
        }
    }
}

/// What the threads of a group share.
private final class Board: @unchecked Sendable {
    private let condition = NSCondition()
    // The condition guards these. The keys: number of the exchange, and rank.
    var values: [Int: [Int: [Double]]] = [:]
    var buckets: [Int: [Int: GradientBucket]] = [:]
    /// A thread failed, or the threads exchange different things.
    var isBroken = false

    func change(_ body: () -> Void) {
        condition.lock()
        body()
        condition.broadcast()
        condition.unlock()
    }

    /// Waits until `body` has a result.
    func wait<R>(_ body: (Board) -> R?) throws -> R {
        condition.lock()
        defer { condition.unlock() }
        while true {
            if isBroken { throw LyraError(.io, "another thread failed, or sends another bucket") }
            if let result = body(self) { return result }
            condition.wait()
        }
    }

    /// Replaces the values of all buckets by their sums.
    func add(_ buckets: [Int: GradientBucket]) {
        let memories = buckets.sorted { $0.key < $1.key }.map(\.value.values)
        guard Set(memories.map(\.count)).count == 1 else {
            isBroken = true
            return
        }
        for index in 0..<memories[0].count {
            let sum = memories.reduce(0) { $0 + $1.base[index] }
            for memory in memories { memory.base[index] = sum }
        }
    }
}

private final class Results<R>: @unchecked Sendable {
    private let lock = NSLock()
    private var results: [Result<R, any Error>?]

    init(_ count: Int) { results = Array(repeating: nil, count: count) }

    func set(_ index: Int, _ result: Result<R, any Error>) { lock.withLock { results[index] = result } }

    func all() throws -> [R] { try lock.withLock { try results.compactMap { try $0?.get() } } }
}
