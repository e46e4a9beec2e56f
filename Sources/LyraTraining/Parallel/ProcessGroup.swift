import LyraBase

/// The processes that train one model together. Each has all parameters and computes the gradients of its own examples;
/// the gradients are summed over all processes, so that all make the same update.
///
/// All processes call the functions of a group in the same order, on one thread; `abort` is the exception. Whatever a
/// loss is divided by (tokens of answers, examples with a transcript) is therefore counted before the forward pass,
/// summed with `sum`, and then used by every process: the sum of the gradients is then the gradient of the examples of
/// all processes together.
public protocol ProcessGroup: AnyObject, Sendable {
    /// From 0 to `count` - 1. Only process 0 prints and saves.
    var rank: Int { get }
    var count: Int { get }

    /// The sum of each value over all processes; waits for all.
    ///
    /// - Throws: `LyraError.io` if the processes cannot communicate. All functions throw this.
    func sum(_ values: [Double]) throws -> [Double]
    /// The maximum of each value over all processes; waits for all. No value may be NaN.
    func maximum(_ values: [Double]) throws -> [Double]
    /// Begins to replace the values of `bucket` by their sums over all processes, and returns. Nobody may use the values
    /// until `finishAll` returns.
    func begin(sum bucket: GradientBucket) throws
    /// Waits for all sums that were begun.
    func finishAll() throws
    /// Waits until all processes have called this.
    func barrier() throws
    /// Leaves the group, at the end of the program; waits for all.
    func leave() throws
    /// Prints the message and ends all processes with exit status 1, from any thread, at any time: an error in one
    /// process would otherwise let the others wait for ever. Returns only if there is no other process.
    func abort(_ message: String)
}

extension ProcessGroup {
    /// Whether this process prints and saves.
    public var isMain: Bool { rank == 0 }

    /// Whether the condition is true in any process; waits for all.
    public func any(_ condition: Bool) throws -> Bool { try maximum([condition ? 1 : 0]) != [0] }

    /// Runs `body`; if it fails in this process, ends all others too.
    public func endingAllOnError<R>(_ body: () throws -> R) throws -> R {
        do {
            return try body()
        } catch {
            abort((error as? LyraError)?.message ?? "\(error)")
            throw error
        }
    }
}

/// A group of one process: sums are the values themselves.
public final class SingleProcess: ProcessGroup {
    public let rank = 0
    public let count = 1

    public init() {}

    public func sum(_ values: [Double]) -> [Double] { values }
    public func maximum(_ values: [Double]) -> [Double] { values }
    public func begin(sum bucket: GradientBucket) {}
    public func finishAll() {}
    public func barrier() {}
    public func leave() {}
    public func abort(_ message: String) {}
}
