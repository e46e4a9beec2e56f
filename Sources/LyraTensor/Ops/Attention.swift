import CKernels
import LyraBase

/// Softmax attention of every query over all keys. Query heads share the key/value heads in groups of equal size.
///
/// - Parameters:
///   - queries: [rows, heads · headDim]
///   - keys: [any, kvHeads · headDim]
///   - values: as many rows as keys have, as many columns
///   - heads: query heads
///   - precision: `fast` may round all to BF16
/// - Returns: [rows, heads · headDim]
/// - Throws: `LyraError.format` if the shapes do not fit, `.memory` if there is no room, `.state` if the work was interrupted.
public func attention(
    _ queries: Tensor, keys: Tensor, values: Tensor, heads: Int, precision: Precision = .exact
) throws -> Tensor {
    let dim = heads > 0 ? queries.columns / heads : 0
    guard dim > 0, queries.columns == heads * dim, keys.rows > 0, keys.shape == values.shape, keys.columns % dim == 0,
        keys.columns > 0, heads % (keys.columns / dim) == 0
    else {
        throw LyraError(
            .format, "queries \(queries.shape) of \(heads) heads do not fit keys \(keys.shape) and values \(values.shape)")
    }
    // The kernel reads keys and values with the same distance between rows.
    let together = keys.rowStride == values.rowStride
    let (keys, values) = together ? (keys, values) : (try keys.contiguous(), try values.contiguous())
    return try Tensor([queries.rows, queries.columns]) { out in
        try queries.withMatrix { q, qStride in
            try keys.withMatrix { k, kvStride in
                try values.withMatrix { v, _ in
                    let shape = lk_attention_shape(
                        rows: queries.rows, kv_rows: keys.rows, heads: heads, kv_heads: keys.columns / dim, dim: dim,
                        q_row_stride: qStride, out_row_stride: queries.columns, kv_row_stride: kvStride,
                        kv_head_stride: dim, page_rows: keys.rows, causal: 0, scale: 1 / Float(dim).squareRoot(),
                        kv_type: LK_KV_F32, narrow_pages: 0, fast: precision.kernelFlag)
                    try runAttention(out, q, keys: [UnsafeRawPointer(k)], values: [UnsafeRawPointer(v)], shape)
                }
            }
        }
    }
}

/// Calls the kernel with one pointer for each page; scales are of no use to types that have none.
func runAttention(
    _ out: UnsafeMutablePointer<Float>, _ queries: UnsafePointer<Float>, keys: [UnsafeRawPointer?],
    values: [UnsafeRawPointer?], keyScales: [UnsafePointer<Float>?] = [], valueScales: [UnsafePointer<Float>?] = [],
    _ shape: lk_attention_shape
) throws {
    let status = withUnsafePointer(to: shape) {
        lk_attention(out, queries, keys, values, keyScales, valueScales, $0)
    }
    try checkKernel(status, "attention over \(shape.kv_rows) tokens")
}
