import LyraBase

/// Which examples make up a batch, in which order, and who makes them.
package struct DataLoaderOptions: Sendable {
    /// Examples of a batch, if the token limit allows; 1 to 65,536.
    package var batchExamples: Int
    /// Limit on the sum of a batch's estimated lengths; a longer example is a batch of its own. Nil means no limit. With
    /// a limit, the batches are the same in each epoch, in another order.
    package var batchTokens: Int?
    /// Batches among whose examples those of similar length are joined; 1 to 65,536.
    package var windowBatches = 64
    package var seed: UInt64 = 0
    /// False for a validation set: the examples come in order, and batches do not depend on their lengths.
    package var shuffles = true
    /// The process that asks, and the number of processes that share the batches; at most 32,768.
    package var rank = 0
    package var processes = 1
    /// Threads that make examples; 0 makes them when they are needed. At most 256.
    package var threads = 2
    /// Batches that are made before they are needed; at most 65,536. A batch of large images can take hundreds of
    /// megabytes.
    package var batchesAhead = 2
    /// Share of bad examples, 0 to 1, that a run survives.
    package var badShare = 0.01

    package init(batchExamples: Int) { self.batchExamples = batchExamples }

    /// - Throws: `LyraError.argument` if an option is out of range.
    func check() throws {
        for (name, value, range) in [
            ("examples of a batch", batchExamples, 1...65_536), ("tokens of a batch", batchTokens ?? 1, 1...Int.max),
            ("batches of similar lengths", windowBatches, 1...65_536), ("processes", processes, 1...32_768),
            ("the process", rank, 0...max(processes - 1, 0)), ("threads of the data loader", threads, 0...256),
            ("batches ahead", batchesAhead, 0...65_536),
        ] where !range.contains(value) {
            throw LyraError(.argument, "\(name): \(value); must be \(range.lowerBound) to \(range.upperBound)")
        }
        guard badShare >= 0, badShare <= 1 else {
            throw LyraError(.argument, "the share of bad examples is \(badShare); must be 0 to 1")
        }
    }
}
