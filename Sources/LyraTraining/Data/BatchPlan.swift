import LyraBase

/// The batches of each epoch, of all processes: a function of the files, the lengths, the seed and the epoch.
///
/// The draws of an epoch are cut into windows. The examples of a window are sorted by length and cut into batches, and
/// the batches are shuffled. With a limit on the tokens of a batch, the number of batches depends on which examples
/// share a window; then all epochs have the windows of the first, so that all have equally many batches.
final class BatchPlan {
    private let draws: EpochDraws
    /// Of each item; nil if they do not matter.
    private let lengths: GrowingBuffer<Int32>?
    private let options: DataLoaderOptions
    /// Batches of each window.
    private var counts: [Int] = []
    /// Batches of an epoch.
    private(set) var count = 0
    /// Examples of an epoch.
    var examples: Int { draws.count }

    private var epoch = Epoch()
    private var window = Window()

    private struct Epoch {
        var number = -1
        /// Nil before the first epoch.
        var draws: GrowingBuffer<UInt32>?
        /// The windows, in the order of the epoch.
        var order: [Int] = []
        /// The first batch of each, in this order.
        var starts: [Int] = []
    }

    private struct Window {
        var (epoch, index) = (-1, -1)
        var batches: [[Int]] = []
    }

    /// - Parameter lengths: of all items; needed for a limit on tokens, and to sort
    /// - Throws: `LyraError.argument` if a weight is out of range, or if there are no items or too many; `.memory`;
    ///   `.state` if interrupted.
    init(_ files: [ExampleFile], lengths: GrowingBuffer<Int32>?, _ options: DataLoaderOptions) throws {
        draws = try EpochDraws(files, seed: options.seed, shuffles: options.shuffles)
        (self.lengths, self.options) = (lengths, options)
        let windows = (draws.count - 1) / windowDraws + 1
        if options.batchTokens == nil {
            counts = (0..<windows).map { (range(of: $0).count - 1) / options.batchExamples + 1 }
        } else {
            let first = try draws(epoch: 0)
            counts = try (0..<windows).map { window in
                try Interruption.check()
                return pack(first, window).count
            }
        }
        count = counts.reduce(0, +)
    }

    private var windowDraws: Int { options.windowBatches * options.batchExamples }

    private func range(of window: Int) -> Range<Int> {
        window * windowDraws..<min((window + 1) * windowDraws, draws.count)
    }

    /// The items of a batch.
    ///
    /// - Parameter index: below `count`
    func batch(_ index: Int, epoch number: Int) throws -> [Int] {
        let draws = try begin(epoch: number)
        // The last window that begins at or before the batch.
        var (low, high) = (0, epoch.starts.count)
        while high - low > 1 {
            let middle = (low + high) / 2
            if epoch.starts[middle] <= index { low = middle } else { high = middle }
        }
        let wanted = epoch.order[low]
        if window.epoch != number || window.index != wanted {
            var batches = pack(draws, wanted)
            if options.shuffles {
                var random = SplitMix64(seed: options.seed, for: .batch, number, wanted)
                random.shuffle(&batches)
            }
            window = Window(epoch: number, index: wanted, batches: batches)
        }
        return window.batches[index - epoch.starts[low]]
    }

    /// Lays out an epoch. → its draws
    private func begin(epoch number: Int) throws -> GrowingBuffer<UInt32> {
        if let draws = epoch.draws, epoch.number == number { return draws }
        epoch.draws = nil  // frees the memory first
        let isFixed = options.batchTokens != nil
        let items = try draws(epoch: isFixed ? 0 : number)
        var order = Array(counts.indices)
        if isFixed, options.shuffles {
            var random = SplitMix64(seed: options.seed, for: .window, number)
            random.shuffle(&order)
        }
        var starts: [Int] = [], start = 0
        for window in order {
            starts.append(start)
            start += counts[window]
        }
        epoch = Epoch(number: number, draws: items, order: order, starts: starts)
        return items
    }

    /// Joins the examples of a window to batches.
    private func pack(_ draws: GrowingBuffer<UInt32>, _ window: Int) -> [[Int]] {
        var items = draws.elements[range(of: window)].map { (item: Int($0), length: length(Int($0))) }
        withExtendedLifetime(draws) {}
        // Swift's sort is stable.
        if options.shuffles { items.sort { $0.length < $1.length } }
        let limit = options.batchTokens ?? .max
        var batches: [[Int]] = [], batch: [Int] = [], tokens = 0
        for (item, length) in items {
            if batch.count == options.batchExamples || !batch.isEmpty && tokens.saturatingAdding(length) > limit {
                batches.append(batch)
                (batch, tokens) = ([], 0)
            }
            batch.append(item)
            tokens = tokens.saturatingAdding(length)
        }
        return batches + [batch]
    }

    private func length(_ item: Int) -> Int { lengths.map { Int($0[item]) } ?? 0 }
}
