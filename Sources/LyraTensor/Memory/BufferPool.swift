import CKernels
import Glibc

/// Large blocks of memory that come and go with every product: what is given back is kept for the next, up to a limit, the
/// newest blocks first.
///
/// The heap would give such blocks back to the system and ask for them anew, which costs a page fault for every few
/// kilobytes; and blocks that are aligned leave holes in it that none of their size fits again.
public enum BufferPool {
    /// From here on a block is the pool's; smaller ones are the heap's.
    static let leastBytes = 256 << 10
    /// What is kept while nobody uses it.
    static let limit = 256 << 20
    private static let hugePage = 2 << 20

    private struct Block {
        let address: UInt
        let size: Int

        func unmap() { munmap(UnsafeMutableRawPointer(bitPattern: address), size) }
    }

    private struct Kept {
        /// In the order in which they were given back; some hundreds at most.
        var blocks: [Block] = []
        var bytes = 0

        /// The newest block of this size.
        mutating func take(_ size: Int) -> Block? {
            guard let index = blocks.lastIndex(where: { $0.size == size }) else { return nil }
            bytes -= size
            return blocks.remove(at: index)
        }

        /// Keeps a block. → those that are too much now: the oldest, which nobody has asked for lately, or the block itself
        /// if it alone is.
        mutating func add(_ block: Block) -> ArraySlice<Block> {
            guard block.size <= limit else { return [block] }
            blocks.append(block)
            bytes += block.size
            var dropped = 0
            while bytes > limit {
                bytes -= blocks[dropped].size
                dropped += 1
            }
            defer { blocks.removeFirst(dropped) }
            return blocks[..<dropped]
        }
    }
    /// Guarded by the kernels' lock for it, which a fork waits for: a child finds it free, and what is kept whole.
    nonisolated(unsafe) private static var kept = Kept()

    private static func withKept<R>(_ body: (inout Kept) -> R) -> R {
        lk_lock_buffers()
        defer { lk_unlock_buffers() }
        return body(&kept)
    }

    /// The size of the block that serves `bytes`, at least `leastBytes`: in steps of an eighth, so that sizes which differ
    /// a little share blocks. Nil if it cannot be counted.
    static func blockSize(_ bytes: Int) -> Int? {
        let least = max(bytes, leastBytes)
        let power = 1 << (Int.bitWidth - 1 - least.leadingZeroBitCount)
        let step = max(power / 8, 64 << 10)
        let (sum, overflow) = least.addingReportingOverflow(step - 1)
        return overflow ? nil : sum / step * step
    }

    /// A block of `size` bytes, as `blockSize` gave it, aligned to a page; nil if there is no memory. What it holds is
    /// anything.
    static func take(_ size: Int) -> UnsafeMutableRawPointer? {
        let found = withKept { $0.take(size)?.address }
        return found.flatMap(UnsafeMutableRawPointer.init(bitPattern:)) ?? map(size) ?? mapAfterTrimming(size)
    }

    /// Gives back what `take` gave.
    static func give(_ block: UnsafeMutableRawPointer, _ size: Int) {
        for old in withKept({ $0.add(Block(address: UInt(bitPattern: block), size: size)) }) { old.unmap() }
    }

    /// Gives all that is kept back to the system: for when nothing is to be computed soon.
    public static func trim() {
        let blocks = withKept { kept in
            defer { kept = Kept() }
            return kept.blocks
        }
        for block in blocks { block.unmap() }
    }

    /// What is kept may be what is missing.
    private static func mapAfterTrimming(_ size: Int) -> UnsafeMutableRawPointer? {
        trim()
        return map(size)
    }

    private static func map(_ size: Int) -> UnsafeMutableRawPointer? {
        let memory = mmap(nil, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
        guard let memory, memory != MAP_FAILED else { return nil }
        if size >= 2 * hugePage { madvise(memory, size, MADV_HUGEPAGE) }
        return memory
    }
}
