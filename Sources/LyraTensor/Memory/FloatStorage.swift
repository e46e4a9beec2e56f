import Glibc
import LyraBase

/// Memory for floats, aligned to 64 bytes and freed with the last reference. Allocation failure is an error, not a
/// crash.
///
/// The owner decides who writes: a `Tensor` never changes shared memory, and a cache is the only owner of its pages.
package final class FloatStorage: @unchecked Sendable {
    package let base: UnsafeMutablePointer<Float>
    package let count: Int
    private let origin: Origin

    /// How the memory is freed.
    private enum Origin {
        case heap, system
        case pool(size: Int)
    }

    /// - Throws: `LyraError.memory` if there is no room. The memory is not initialised.
    package init(count: Int) throws {
        guard count >= 0, let bytes = count.checkedMultiplying(by: MemoryLayout<Float>.stride),
            let (memory, origin) = FloatStorage.allocate(bytes)
        else {
            throw LyraError(.memory, "no memory for \(count) floats")
        }
        base = memory.assumingMemoryBound(to: Float.self)
        self.count = count
        self.origin = origin
    }

    /// Storage without elements.
    static let empty = FloatStorage()

    private init() { (base, count, origin) = (UnsafeMutablePointer.allocate(capacity: 1), 0, .heap) }

    private static func allocate(_ bytes: Int) -> (UnsafeMutableRawPointer, Origin)? {
        if bytes >= BufferPool.leastBytes {
            guard let size = BufferPool.bufferSize(bytes) else { return nil }
            return BufferPool.take(size).map { ($0, .pool(size: size)) }
        }
        return FloatStorage.heapMemory(bytes, alignment: 64).map { ($0, .heap) }
    }

    /// Zeroed memory in whole pages, mapped directly from the system: for long-lived buffers. A long-lived heap
    /// allocation would keep the freed memory around it from returning to the system.
    ///
    /// - Throws: `LyraError.memory` if there is no room.
    package init(mapping count: Int) throws {
        guard count > 0, let bytes = count.checkedMultiplying(by: MemoryLayout<Float>.stride),
            let memory = mapMemory(bytes)
        else {
            throw LyraError(.memory, "no memory for \(count) floats")
        }
        base = memory.assumingMemoryBound(to: Float.self)
        self.count = count
        origin = .system
    }

    /// Memory of the heap, at least 64 bytes; nil if there is no room.
    static func heapMemory(_ bytes: Int, alignment: Int) -> UnsafeMutableRawPointer? {
        retryingAllocation {
            var memory: UnsafeMutableRawPointer?
            return posix_memalign(&memory, alignment, max(bytes, 64)) == 0 ? memory : nil
        }
    }

    deinit {
        switch origin {
        case .heap: free(base)
        case .system: munmap(base, count * MemoryLayout<Float>.stride)
        case .pool(let size): BufferPool.give(base, size)
        }
    }

    /// Number of elements in a tensor of `shape`.
    ///
    /// The product of the axes that are not 0 must fit, even for an empty tensor. Then no product of any axes
    /// overflows.
    ///
    /// - Throws: `LyraError.memory` on overflow, `LyraError.argument` for a negative length.
    package static func count(of shape: [Int]) throws -> Int {
        guard shape.allSatisfy({ $0 >= 0 }) else {
            throw LyraError(.argument, "a tensor cannot have the shape \(shape.prefix(16))")
        }
        var product = 1
        for length in shape where length > 0 {
            guard let next = product.checkedMultiplying(by: length) else {
                throw LyraError(.memory, "the element count of shape \(shape.prefix(16)) overflows")
            }
            product = next
        }
        return shape.contains(0) ? 0 : product
    }
}
