import CKernels
import CMemory
import Glibc
import LyraBase

/// A pool of large buffers, because every product needs some for a short time. Freed buffers are kept for reuse up to a
/// limit; the most recently freed ones are kept and reused first.
///
/// malloc would return such buffers to the system and request them anew, which costs a page fault for every few
/// kilobytes. Aligned buffers also fragment the heap: the gaps between them fit no buffer of the same size.
public enum BufferPool {
    /// Smallest buffer that comes from the pool; the heap serves smaller ones.
    static let leastBytes = 256 << 10
    /// Limit in bytes for free buffers that the pool keeps, unless `keep(upTo:)` sets another.
    package static let limit = 256 << 20
    private static let hugePage = 2 << 20

    private struct Buffer {
        let address: UInt
        let size: Int

        func unmap() { munmap(UnsafeMutableRawPointer(bitPattern: address), size) }
    }

    private struct FreeBuffers {
        /// Oldest first; a few hundred at most.
        var buffers: [Buffer] = []
        var bytes = 0
        var limit = BufferPool.limit

        /// Removes the most recently freed buffer of this size.
        mutating func take(_ size: Int) -> Buffer? {
            guard let index = buffers.lastIndex(where: { $0.size == size }) else { return nil }
            bytes -= size
            return buffers.remove(at: index)
        }

        /// Keeps a freed buffer. → the buffers over the limit: the longest unused ones, or the new buffer itself if it
        /// is larger than the limit
        mutating func add(_ buffer: Buffer) -> ArraySlice<Buffer> {
            guard buffer.size <= limit else { return [buffer] }
            buffers.append(buffer)
            bytes += buffer.size
            return removeExcess()
        }

        mutating func setLimit(_ bytes: Int) -> ArraySlice<Buffer> {
            limit = bytes
            return removeExcess()
        }

        private mutating func removeExcess() -> ArraySlice<Buffer> {
            var dropped = 0
            while bytes > limit {
                bytes -= buffers[dropped].size
                dropped += 1
            }
            defer { buffers.removeFirst(dropped) }
            return buffers[..<dropped]
        }
    }

    /// Guarded by `lk_lock_buffers`. fork waits for that lock, so that a child process finds the lock free and the list
    /// consistent.
    nonisolated(unsafe) private static var freeBuffers = FreeBuffers()

    private static func withFreeBuffers<R>(_ body: (inout FreeBuffers) -> R) -> R {
        lk_lock_buffers()
        defer { lk_unlock_buffers() }
        return body(&freeBuffers)
    }

    /// Size of the buffer that serves `bytes` (at least `leastBytes`), rounded up to one of at most eight sizes for
    /// each power of two, so that similar sizes share buffers. Nil on overflow.
    static func bufferSize(_ bytes: Int) -> Int? {
        let least = max(bytes, leastBytes)
        let power = 1 << (Int.bitWidth - 1 - least.leadingZeroBitCount)
        let step = max(power / 8, 64 << 10)
        return least.checkedAdding(step - 1).map { $0 / step * step }
    }

    /// A page-aligned, uninitialised buffer of `size` bytes, as returned by `bufferSize`; nil if there is no memory.
    static func take(_ size: Int) -> UnsafeMutableRawPointer? {
        let found = withFreeBuffers { $0.take(size)?.address }
        if let found { return UnsafeMutableRawPointer(bitPattern: found) }
        guard let memory = mapMemory(size) else { return nil }
        if size >= 2 * hugePage { madvise(memory, size, MADV_HUGEPAGE) }
        return memory
    }

    /// Lets every allocation that fails empty the pool first. Done when the pool keeps its first buffer.
    private static let emptiesOnShortage: Void = lyra_on_shortage { BufferPool.trim() }

    /// Returns a buffer of `take` to the pool.
    static func give(_ buffer: UnsafeMutableRawPointer, _ size: Int) {
        _ = emptiesOnShortage
        for old in withFreeBuffers({ $0.add(Buffer(address: UInt(bitPattern: buffer), size: size)) }) { old.unmap() }
    }

    /// Sets the limit in bytes for free buffers. Training frees and requests the results of all layers in each step:
    /// where they are more than the limit, the system would have to clear the memory anew.
    package static func keep(upTo bytes: Int) {
        for old in withFreeBuffers({ $0.setLimit(bytes) }) { old.unmap() }
    }

    /// Returns all free buffers to the system: for times when no computation is expected soon.
    public static func trim() {
        let buffers = withFreeBuffers { free in
            defer { (free.buffers, free.bytes) = ([], 0) }
            return free.buffers
        }
        for buffer in buffers { buffer.unmap() }
    }
}
