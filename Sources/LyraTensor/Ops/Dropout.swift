import CKernels
import LyraBase

/// Sets a share of a tensor's elements to 0 and scales the others by 1 / (1 − share), in training.
///
/// Which elements are dropped depends only on the seed and their place, so that a recomputed forward pass and the
/// gradient drop the same ones.
public final class Dropout: @unchecked Sendable {
    public let share: Float
    /// The caller changes the seed between steps, never between a forward pass and its gradient.
    public var seed: UInt64

    /// - Throws: `LyraError.argument` for a share outside 0 ..< 1.
    public init(share: Float, seed: UInt64 = 0) throws {
        guard share >= 0, share < 1 else {
            throw LyraError(.argument, "dropout is \(share); it must be from 0 to below 1")
        }
        (self.share, self.seed) = (share, seed)
    }

    /// x without its dropped elements, and without its history.
    func callAsFunction(_ x: Tensor) throws -> Tensor {
        guard share > 0 else { return x.detached }
        var result = x.detached
        let count = x.count, factor = 1 / (1 - share), seed = seed
        // An element is dropped if 32 random bits are below this.
        let limit = UInt32(Double(share) * 0x1p32)
        try result.withMutableValues { lk_dropout($0, count, factor, seed, limit) }
        return result
    }
}
