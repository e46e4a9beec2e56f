/// What the new positions of a decoder layer attend to: the keys and values before them, and their own.
public protocol AttentionContext: AnyObject {
    /// Causal softmax attention of new positions.
    ///
    /// - Parameters:
    ///   - queries: [positions, heads · headDim]
    ///   - keys, values: of the same positions, [positions, kvHeads · headDim]
    ///   - precision: `fast` may round operands to BF16
    /// - Returns: [positions, heads · headDim]
    func attention(
        _ queries: Tensor, appending keys: Tensor, _ values: Tensor, heads: Int, precision: Precision
    ) throws -> Tensor
}

extension KeyValueCache: AttentionContext {
    /// Appends the keys and values, and attends to all cached rows.
    ///
    /// - Throws: the errors of `append` and `attention`.
    public func attention(
        _ queries: Tensor, appending keys: Tensor, _ values: Tensor, heads: Int, precision: Precision
    ) throws -> Tensor {
        try append(keys: keys, values: values)
        return try attention(queries, heads: heads, precision: precision)
    }
}

/// Samples of a batch that lie one after the other in the rows: every row attends to its own sample only. Nothing is
/// cached for later positions; gradients reach queries, keys and values.
public final class BatchContext: AttentionContext {
    private let segments: [AttentionSegment]
    /// Keys of the last call.
    public private(set) var keys: Tensor?

    /// - Parameter lengths: rows of each sample
    public init(lengths: [Int]) {
        var start = 0
        segments = lengths.map { length in
            defer { start += length }
            return AttentionSegment(queries: start..<start + length, keys: start..<start + length)
        }
    }

    /// - Throws: the errors of attention within segments.
    public func attention(
        _ queries: Tensor, appending keys: Tensor, _ values: Tensor, heads: Int, precision: Precision
    ) throws -> Tensor {
        self.keys = keys.detached
        return try LyraTensor.attention(
            queries, keys: keys, values: values, heads: heads, segments: segments, isCausal: true,
            precision: precision)
    }
}
