import LyraBase

/// Merges the bytes of one pre-token into tokens. While any two neighbours merge, merges the pair of lowest rank, the
/// leftmost first. Owns its buffers: create a merger for each text, not for each pre-token.
struct ByteMerger {
    private let merges: MergeTable
    private let byteIDs: [Int32]

    /// The token at each position.
    private var ids: [Int32] = []
    /// The merge of each token with its successor, as `MergeTable.packed` returns it.
    private var pairs: [UInt64] = []
    /// For long pre-tokens only: a doubly linked list of the positions where a token starts.
    private var previous: [Int] = []
    private var next: [Int] = []
    private var queue = MinimumQueue()

    /// Up to this many bytes, a linear search for the lowest rank is faster than a queue.
    private static let scanLimit = 48

    init(merges: MergeTable, byteIDs: [Int32]) {
        self.merges = merges
        self.byteIDs = byteIDs
    }

    /// Appends the tokens of `preToken`. O(n log n) in its length.
    ///
    /// - Throws: `LyraError.memory` if there is no room.
    mutating func merge(_ preToken: Slice<UnsafeBufferPointer<UInt8>>, into output: GrowingBuffer<Int32>) throws {
        guard preToken.count > 1 else {
            for byte in preToken { try output.append(byteIDs[Int(byte)]) }
            return
        }
        ids.removeAll(keepingCapacity: true)
        pairs.removeAll(keepingCapacity: true)
        for byte in preToken { ids.append(byteIDs[Int(byte)]) }
        for index in 0..<ids.count - 1 { pairs.append(merges.packed(ids[index], ids[index + 1])) }
        if ids.count <= Self.scanLimit {
            mergeByScanning()
            try output.append(ids)
        } else {
            try mergeByQueue(into: output)
        }
    }

    private mutating func mergeByScanning() {
        while true {
            var best = UInt64.max
            var index = 0
            for candidate in pairs.indices where pairs[candidate] < best {
                best = pairs[candidate]
                index = candidate
            }
            guard best != UInt64.max else { return }
            ids[index] = Int32(truncatingIfNeeded: best)
            ids.remove(at: index + 1)
            pairs.remove(at: index)
            if index > 0 { pairs[index - 1] = merges.packed(ids[index - 1], ids[index]) }
            if index < pairs.count { pairs[index] = merges.packed(ids[index], ids[index + 1]) }
        }
    }

    private mutating func mergeByQueue(into output: GrowingBuffer<Int32>) throws {
        let count = ids.count
        previous = Array(-1..<count - 1)
        next = Array(1...count)
        pairs.append(UInt64.max)
        queue.removeAll()
        for position in pairs.indices where pairs[position] != UInt64.max {
            queue.push(Self.entry(pairs[position], at: position))
        }
        while let entry = queue.popMinimum() {
            let position = Int(truncatingIfNeeded: entry & Self.positionMask)
            let merged = pairs[position]
            // An entry is stale if the pair at its position has changed since.
            guard merged != UInt64.max, Self.entry(merged, at: position) == entry else { continue }
            let swallowed = next[position]
            let after = next[swallowed]
            ids[position] = Int32(truncatingIfNeeded: merged)
            pairs[swallowed] = UInt64.max
            next[position] = after
            if after < count { previous[after] = position }
            update(position, before: after)
            if previous[position] >= 0 { update(previous[position], before: position) }
        }
        var position = 0
        while position < count {
            try output.append(ids[position])
            position = next[position]
        }
    }

    private mutating func update(_ position: Int, before successor: Int) {
        let pair = successor < ids.count ? merges.packed(ids[position], ids[successor]) : UInt64.max
        pairs[position] = pair
        if pair != UInt64.max { queue.push(Self.entry(pair, at: position)) }
    }

    /// Orders by rank, then by position: 24 bits of rank over 40 of position.
    private static func entry(_ pair: UInt64, at position: Int) -> UInt64 {
        (pair >> 32) << 40 | UInt64(truncatingIfNeeded: position)
    }

    private static let positionMask: UInt64 = 1 << 40 - 1
}

/// A binary heap, smallest first.
private struct MinimumQueue {
    private var heap: [UInt64] = []

    mutating func removeAll() { heap.removeAll(keepingCapacity: true) }

    mutating func push(_ entry: UInt64) {
        heap.append(entry)
        var index = heap.count - 1
        while index > 0, heap[(index - 1) / 2] > entry {
            heap[index] = heap[(index - 1) / 2]
            index = (index - 1) / 2
        }
        heap[index] = entry
    }

    mutating func popMinimum() -> UInt64? {
        guard let last = heap.popLast() else { return nil }
        guard let first = heap.first else { return last }
        heap[0] = last
        sink(0)
        return first
    }

    private mutating func sink(_ start: Int) {
        heap.withUnsafeMutableBufferPointer { heap in
            let entry = heap[start]
            var index = start
            while 2 * index + 1 < heap.count {
                var child = 2 * index + 1
                if child + 1 < heap.count, heap[child + 1] < heap[child] { child += 1 }
                guard heap[child] < entry else { break }
                heap[index] = heap[child]
                index = child
            }
            heap[index] = entry
        }
    }
}
