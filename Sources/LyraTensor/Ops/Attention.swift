import CKernels
import LyraBase

/// Softmax attention of every query over all keys. No causal mask. Groups of query heads of equal size share a
/// key/value head.
///
/// - Parameters:
///   - queries: [rows, heads · headDim]
///   - keys: [any, kvHeads · headDim]
///   - values: the same shape as `keys`
///   - heads: query heads
///   - precision: `fast` may round all operands to BF16
/// - Returns: [rows, heads · headDim]
/// - Throws: `LyraError.argument` if the shapes do not fit, `.memory` if there is no room, `.state` if the work was
///   interrupted.
public func attention(
    _ queries: Tensor, keys: Tensor, values: Tensor, heads: Int, precision: Precision = .exact
) throws -> Tensor {
    if queries.isTracked || keys.isTracked || values.isTracked {
        let all = AttentionSegment(queries: 0..<queries.rows, keys: 0..<keys.rows)
        return try attention(
            queries, keys: keys, values: values, heads: heads, segments: [all], isCausal: false, precision: precision)
    }
    return try Tensor([queries.rows, queries.columns]) {
        try attend(
            queries, keys: keys, values: values, heads: heads, isCausal: false, precision: precision, to: $0,
            logSumExp: nil)
    }
}

/// The same, and the log-sum-exp of each query and head: ln Σ exp(score) over all keys, which a gradient needs. A score
/// is the product of query and key / √headDim.
///
/// - Returns: the output [rows, heads · headDim], and the log-sum-exps [rows, heads]
public func attentionWithLogSumExp(
    _ queries: Tensor, keys: Tensor, values: Tensor, heads: Int, precision: Precision = .exact
) throws -> (output: Tensor, logSumExp: Tensor) {
    try Tensor.pair([queries.rows, queries.columns], [queries.rows, max(heads, 0)]) {
        try attend(
            queries, keys: keys, values: values, heads: heads, isCausal: false, precision: precision, to: $0,
            logSumExp: $1)
    }
}

/// Elements of a head.
///
/// - Throws: `LyraError.argument` if the shapes do not fit.
func headDimension(_ queries: Tensor, keys: Tensor, values: Tensor, heads: Int) throws -> Int {
    let dim = heads > 0 ? queries.columns / heads : 0
    guard dim > 0, queries.columns == heads * dim, keys.shape == values.shape, keys.columns > 0,
        keys.columns % dim == 0, heads % (keys.columns / dim) == 0
    else {
        throw LyraError(
            .argument,
            "queries \(queries.shape) of \(heads) heads do not fit keys \(keys.shape) and values \(values.shape)")
    }
    return dim
}

/// - Parameters:
///   - isCausal: whether query r sees only keys up to its own, the last keys being those of the queries
///   - out: receives [rows, heads · headDim]
///   - logSumExp: receives [rows, heads]
func attend(
    _ queries: Tensor, keys: Tensor, values: Tensor, heads: Int, isCausal: Bool, precision: Precision,
    to out: UnsafeMutablePointer<Float>, logSumExp: UnsafeMutablePointer<Float>?
) throws {
    let dim = try headDimension(queries, keys: keys, values: values, heads: heads)
    guard keys.rows > 0 else { throw LyraError(.argument, "attention without keys") }
    // The kernel reads keys and values with one row stride.
    let together = keys.rowStride == values.rowStride
    let (keys, values) = together ? (keys, values) : (try keys.contiguous(), try values.contiguous())
    try queries.withMatrix { q, qStride in
        try keys.withMatrix { k, kvStride in
            try values.withMatrix { v, _ in
                func page(_ data: UnsafePointer<Float>) -> lk_kv_page {
                    lk_kv_page(data: data, scales: nil, type: LK_KV_F32)
                }
                try runAttention(
                    lk_attention_output(
                        data: out, row_stride: queries.columns, head_stride: dim, log_sum_exp: logSumExp),
                    lk_queries(
                        data: q, rows: queries.rows, heads: heads, dim: dim, row_stride: qStride, head_stride: dim),
                    keys: [page(k)], values: [page(v)],
                    lk_keys_values(
                        keys: nil, values: nil, rows: keys.rows, heads: keys.columns / dim, page_rows: keys.rows,
                        row_stride: kvStride, head_stride: dim),
                    lk_attention_options(
                        scale: 1 / Float(dim).squareRoot(), causal: isCausal ? 1 : 0, fast: precision.kernelFlag))
            }
        }
    }
}

/// Runs attention over pages.
///
/// - Parameter layout: layout of keys and values, without the page list
func runAttention(
    _ output: lk_attention_output, _ queries: lk_queries, keys: [lk_kv_page], values: [lk_kv_page],
    _ layout: lk_keys_values, _ options: lk_attention_options
) throws {
    let status = keys.withUnsafeBufferPointer { keys in
        values.withUnsafeBufferPointer { values in
            var keysValues = layout
            (keysValues.keys, keysValues.values) = (keys.baseAddress, values.baseAddress)
            return withUnsafePointer(to: output) { output in
                withUnsafePointer(to: queries) { queries in
                    withUnsafePointer(to: options) { lk_attention(output, queries, &keysValues, $0) }
                }
            }
        }
    }
    try checkKernel(status, "attention over \(layout.rows) tokens")
}
