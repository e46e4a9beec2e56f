import LyraBase

/// The items of each epoch, in random order: a function of the files, the seed and the epoch.
///
/// An epoch draws count · weight items of each file, from an endless sequence of permutations of the file. So all items
/// of a file are drawn equally often, whatever its weight is.
struct EpochDraws {
    /// The most items, and the most draws of an epoch.
    private static let limit = Int(Int32.max)

    private let files: [(count: Int, draws: Int)]
    private let seed: UInt64
    private let shuffles: Bool
    /// Draws of an epoch.
    let count: Int

    /// - Parameter shuffles: whether the order is random; otherwise it is the files' own
    /// - Throws: `LyraError.argument` if a weight is out of range, or if there are no items or too many.
    init(_ files: [ExampleFile], seed: UInt64, shuffles: Bool) throws {
        var (items, draws) = (0, 0)
        self.files = try files.map { file in
            guard file.weight > 0, file.weight <= 1e6 else {
                throw LyraError(.argument, "a data set has the weight \(file.weight); must be above 0, at most 1e6")
            }
            let drawn = max(Int((Double(file.count) * file.weight).rounded()), min(file.count, 1))
            (items, draws) = (items.saturatingAdding(file.count), draws.saturatingAdding(drawn))
            return (file.count, drawn)
        }
        guard items <= Self.limit, draws <= Self.limit else {
            throw LyraError(
                .argument, "\(items) items with \(draws) draws an epoch; at most \(Self.limit) of each are allowed")
        }
        guard draws > 0 else { throw LyraError(.argument, "the data sets have no items") }
        (self.seed, self.shuffles, count) = (seed, shuffles, draws)
    }

    /// The items of an epoch, counted over all files.
    ///
    /// - Throws: `LyraError.memory`; `.state` if interrupted.
    func callAsFunction(epoch: Int) throws -> GrowingBuffer<UInt32> {
        let result = GrowingBuffer<UInt32>()
        try result.reserve(count)
        var offset = 0
        for (number, file) in files.enumerated() where file.count > 0 {
            var next = epoch * file.draws
            let end = next + file.draws
            while next < end {
                let cycle = next / file.count, cycleEnd = min((cycle + 1) * file.count, end)
                let order = try permutation(file.count, SplitMix64(seed: seed, for: .file, number, cycle))
                let range = next - cycle * file.count..<cycleEnd - cycle * file.count
                try result.append(order.elements[range].lazy.map { $0 + UInt32(offset) })
                next = cycleEnd
                try Interruption.check()
            }
            offset += file.count
        }
        shuffle(result, SplitMix64(seed: seed, for: .epoch, epoch))
        return result
    }

    private func permutation(_ count: Int, _ random: SplitMix64) throws -> GrowingBuffer<UInt32> {
        let order = try GrowingBuffer(copying: 0..<UInt32(count))
        shuffle(order, random)
        return order
    }

    private func shuffle(_ items: GrowingBuffer<UInt32>, _ random: SplitMix64) {
        guard shuffles else { return }
        var (random, elements) = (random, items.elements)
        random.shuffle(&elements)
        withExtendedLifetime(items) {}
    }
}

/// What a sequence of random numbers is for. Sequences for different purposes are independent.
enum RandomPurpose: UInt64 {
    case file = 1
    case epoch, window, batch, example, head
}

extension SplitMix64 {
    /// A sequence of its own for each purpose and numbers.
    init(seed: UInt64, for purpose: RandomPurpose, _ numbers: Int...) {
        func mixed(_ value: UInt64) -> UInt64 {
            var generator = SplitMix64(seed: value)
            return generator.next()
        }
        let numbers = numbers.map { UInt64(bitPattern: Int64($0)) }
        self.init(seed: ([purpose.rawValue] + numbers).reduce(mixed(seed)) { mixed($0 ^ $1) })
    }
}
