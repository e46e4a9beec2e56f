import CKernels
import LyraBase

/// Queries and the keys that they attend to.
public struct AttentionSegment: Sendable {
    /// Rows of the queries.
    public let queries: Range<Int>
    /// Rows of the keys and values.
    public let keys: Range<Int>

    public init(queries: Range<Int>, keys: Range<Int>) { (self.queries, self.keys) = (queries, keys) }
}

/// Softmax attention within segments, with a gradient: the samples of a batch lie one after the other in the rows.
///
/// - Parameters:
///   - queries: [rows, heads · headDim]
///   - keys: [any, kvHeads · headDim]
///   - values: the same shape as `keys`
///   - segments: adjacent, in order; together they cover all rows
///   - isCausal: whether query r of a segment sees only keys up to its own, the last keys being those of the queries
/// - Returns: [rows, heads · headDim]
/// - Throws: `LyraError.argument` if the shapes or segments do not fit, `.memory` if there is no room, `.io` if the
///   system refuses to open OpenBLAS, `.state` if the work was interrupted.
public func attention(
    _ queries: Tensor, keys: Tensor, values: Tensor, heads: Int, segments: [AttentionSegment], isCausal: Bool,
    precision: Precision = .exact
) throws -> Tensor {
    _ = try headDimension(queries, keys: keys, values: values, heads: heads)
    try check(segments, queries: queries.rows, keys: keys.rows, isCausal: isCausal)
    // The kernel reads keys and values with one row stride.
    let isTogether = keys.rowStride == values.rowStride
    let (k, v) = isTogether ? (keys, values) : (try keys.contiguous(), try values.contiguous())
    let (output, sums) = try Tensor.pair([queries.rows, queries.columns], [queries.rows, heads]) { out, sums in
        for segment in segments where !segment.queries.isEmpty {
            let first = segment.queries.lowerBound
            try attend(
                queries.rows(segment.queries), keys: k.rows(segment.keys), values: v.rows(segment.keys), heads: heads,
                isCausal: isCausal, precision: precision, to: out + first * queries.columns,
                logSumExp: sums + first * heads)
        }
    }
    guard queries.isTracked || keys.isTracked || values.isTracked else { return output }
    return output.recorded(
        .attention(
            AttentionRecord(
                queries: queries, keys: keys, values: values, output: output, logSumExp: sums, heads: heads,
                segments: segments, isCausal: isCausal)))
}

private func check(_ segments: [AttentionSegment], queries: Int, keys: Int, isCausal: Bool) throws {
    var (query, key) = (0, 0)
    for segment in segments {
        guard segment.queries.lowerBound == query, segment.keys.lowerBound == key, !segment.keys.isEmpty,
            !isCausal || segment.queries.count <= segment.keys.count
        else { throw LyraError(.argument, "attention within segments that are empty or do not follow each other") }
        (query, key) = (segment.queries.upperBound, segment.keys.upperBound)
    }
    guard query == queries, key == keys else {
        throw LyraError(.argument, "segments of \(query) queries and \(key) keys do not cover \(queries) and \(keys)")
    }
}

/// What the gradient of an attention needs.
struct AttentionRecord {
    let queries: Tensor
    let keys: Tensor
    let values: Tensor
    let output: Tensor
    /// [rows, heads]
    let logSumExp: Tensor
    let heads: Int
    let segments: [AttentionSegment]
    let isCausal: Bool

    /// With P = exp(scale · Q · Kᵀ − logSumExp), D = rowsum(dO ∘ O) and dS = P ∘ (dO · Vᵀ − D) · scale:
    /// dV = Pᵀ · dO, dQ = dS · K, dK = dSᵀ · Q (arXiv 2205.14135, appendix B). Tile by tile; no matrix of all scores.
    func propagate(_ gradient: Tensor) throws {
        let starts = [0] + segments.map(\.queries.upperBound), keyStarts = [0] + segments.map(\.keys.upperBound)
        let (width, kvWidth) = (queries.columns, keys.columns)
        // Side by side, as the products before made queries, keys and values, if they are of the same rows.
        let isSideBySide = queries.rows == keys.rows
        let stride = isSideBySide ? width + 2 * kvWidth : max(width, 2 * kvWidth)
        let firstKey = isSideBySide ? 0 : queries.rows, firstColumn = isSideBySide ? width : 0
        let all = try Tensor([isSideBySide ? queries.rows : queries.rows + keys.rows, stride]) { all in
            let dk = all + firstKey * stride + firstColumn
            let gradients = lk_attention_gradients(
                dqueries: all, dkeys: dk, dvalues: dk + kvWidth, ld_dqueries: stride, ld_dkeys: stride,
                ld_dvalues: stride)
            let status = starts.withUnsafeBufferPointer { starts in
                keyStarts.withUnsafeBufferPointer { keyStarts in
                    run(gradient, gradients, starts.baseAddress, keyStarts.baseAddress)
                }
            }
            try checkKernel(status, "the gradient of attention")
        }
        let forKeys = all.rows(firstKey..<firstKey + keys.rows)
        try queries.node?.add(all.rows(0..<queries.rows).columns(0..<width))
        try keys.node?.add(forKeys.columns(firstColumn..<firstColumn + kvWidth))
        try values.node?.add(forKeys.columns(firstColumn + kvWidth..<firstColumn + 2 * kvWidth))
    }

    private func run(
        _ gradient: Tensor, _ gradients: lk_attention_gradients, _ starts: UnsafePointer<Int>?,
        _ keyStarts: UnsafePointer<Int>?
    ) -> Int32 {
        let dim = queries.columns / heads
        return queries.withMatrix { q, ldQueries in
            keys.withMatrix { k, ldKeys in
                values.withMatrix { v, ldValues in
                    output.withMatrix { o, ldOutput in
                        gradient.withMatrix { dout, ldGradient in
                            logSumExp.withMatrix { sums, _ in
                                var forward = lk_attention_forward()
                                (forward.queries, forward.keys, forward.values) = (q, k, v)
                                (forward.output, forward.doutput, forward.log_sum_exp) = (o, dout, sums)
                                (forward.ld_queries, forward.ld_keys, forward.ld_values) = (ldQueries, ldKeys, ldValues)
                                (forward.ld_output, forward.ld_doutput) = (ldOutput, ldGradient)
                                forward.starts = UnsafeRawPointer(starts)?.assumingMemoryBound(to: Int.self)
                                forward.key_starts = UnsafeRawPointer(keyStarts)?.assumingMemoryBound(to: Int.self)
                                (forward.segments, forward.heads, forward.kv_heads) = (
                                    segments.count, heads, keys.columns / dim
                                )
                                (forward.dim, forward.scale, forward.causal) = (
                                    dim, 1 / Float(dim).squareRoot(), isCausal ? 1 : 0
                                )
                                var gradients = gradients
                                return lk_attention_gradient(&gradients, &forward)
                            }
                        }
                    }
                }
            }
        }
    }
}
