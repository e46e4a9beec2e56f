import Glibc

/// Memory for floats from an allocator that can say no, aligned to 64 bytes, freed with the last reference.
///
/// Whoever makes one decides who writes: `Tensor` keeps it immutable once filled, caches own theirs alone.
public final class FloatStorage: @unchecked Sendable {
    public let base: UnsafeMutablePointer<Float>
    public let count: Int

    /// - Throws: `LyraError.memory` if there is no room. The memory is not initialised.
    public init(count: Int) throws {
        let (bytes, overflow) = count.multipliedReportingOverflow(by: MemoryLayout<Float>.stride)
        var memory: UnsafeMutableRawPointer?
        guard count >= 0, !overflow, posix_memalign(&memory, 64, max(bytes, 64)) == 0, let memory else {
            throw LyraError(.memory, "no memory for \(count) floats")
        }
        base = memory.assumingMemoryBound(to: Float.self)
        self.count = count
    }

    deinit { free(base) }

    /// Elements of a tensor of `shape`.
    ///
    /// - Throws: `LyraError.memory` if the product does not fit an `Int`, `LyraError.argument` for a negative length.
    public static func count(of shape: [Int]) throws -> Int {
        var product = 1
        for length in shape {
            guard length >= 0 else { throw LyraError(.argument, "a tensor cannot have the shape \(shape)") }
            let (next, overflow) = product.multipliedReportingOverflow(by: length)
            guard !overflow else { throw LyraError(.memory, "a tensor of shape \(shape) is too large to count") }
            product = next
        }
        return product
    }
}
