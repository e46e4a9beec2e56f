import LyraBase

/// The merges of a BPE vocabulary: (left id, right id) → (rank, id of the merged token), by open addressing.
struct MergeTable: @unchecked Sendable {
    /// The merge of a pair. Lower ranks merge first.
    struct Merge {
        let rank: UInt32
        let result: Int32
    }

    /// `[key, value]` pairs, interleaved so that a look-up touches one cache line.
    private let memory: GrowingBuffer<UInt64>
    /// The elements of `memory`, which never moves.
    private let slots: UnsafeMutablePointer<UInt64>
    private let mask: Int
    /// Random, so that no file can make all pairs collide.
    private let multiplier: UInt64

    /// Never a key, because ids are not negative.
    private static let vacant = UInt64.max

    /// A table with room for `count` merges.
    ///
    /// - Throws: `LyraError.memory` if there is no room.
    init(count: Int) throws {
        var size = 16
        while size < count * 2 { size *= 2 }
        memory = try GrowingBuffer(repeating: Self.vacant, count: size * 2)
        guard let base = memory.elements.baseAddress else { throw LyraError(.memory, "no memory for \(count) merges") }
        slots = base
        mask = size - 1
        multiplier = UInt64.random(in: 0...UInt64.max) | 1
    }

    /// Adds a merge. → false if the pair has one already
    func insert(_ left: Int32, _ right: Int32, _ merge: Merge) -> Bool {
        let key = Self.key(left, right)
        let slot = self.slot(of: key)
        guard slots[slot] == Self.vacant else { return false }
        slots[slot] = key
        slots[slot + 1] = UInt64(merge.rank) << 32 | UInt64(UInt32(bitPattern: merge.result))
        return true
    }

    /// Rank and result of a pair packed as `rank << 32 | result`, or `UInt64.max` if the pair does not merge.
    @inline(__always)
    func packed(_ left: Int32, _ right: Int32) -> UInt64 {
        // A vacant slot's value is UInt64.max too.
        slots[slot(of: Self.key(left, right)) + 1]
    }

    /// All merges, in arbitrary order.
    var all: [(left: Int32, right: Int32, rank: UInt32)] {
        stride(from: 0, to: memory.count, by: 2).compactMap { slot in
            let (key, value) = (slots[slot], slots[slot + 1])
            guard key != Self.vacant else { return nil }
            return (
                Int32(truncatingIfNeeded: key >> 32), Int32(truncatingIfNeeded: key),
                UInt32(truncatingIfNeeded: value >> 32)
            )
        }
    }

    private static func key(_ left: Int32, _ right: Int32) -> UInt64 {
        UInt64(UInt32(bitPattern: left)) << 32 | UInt64(UInt32(bitPattern: right))
    }

    /// The slot that holds `key`, or the vacant one where it belongs. The table is at most half full, so there is one.
    @inline(__always)
    private func slot(of key: UInt64) -> Int {
        var hash = key &* multiplier
        hash = (hash ^ hash >> 32) &* 0x9E37_79B9_7F4A_7C15
        var index = Int(truncatingIfNeeded: hash >> 32) & mask
        while slots[index * 2] != key && slots[index * 2] != Self.vacant { index = (index + 1) & mask }
        return index * 2
    }
}
