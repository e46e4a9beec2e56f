import CKernels
import LyraBase

extension Tensor {
    /// Softmax attention of every row over all rows.
    ///
    /// - Parameters:
    ///   - heads: heads of q, k and v alike, which lie side by side in each row: [rows, 3 · heads · headDim]
    ///   - precision: whether they may be rounded to BF16
    /// - Returns: [rows, heads · headDim]
    public func selfAttention(heads: Int, precision: Precision = .exact) throws -> Tensor {
        let width = columns / 3
        let shape = lk_attention_shape(
            rows: rows, kv_rows: rows, heads: heads, kv_heads: heads, dim: width / heads, q_row_stride: columns,
            out_row_stride: width, kv_row_stride: columns, kv_head_stride: width / heads, page_rows: rows, causal: 0,
            scale: 1 / Float(width / heads).squareRoot(), kv_type: LK_KV_F32, narrow_pages: 0,
            fast: precision.kernelFlag)
        return try Tensor([rows, width]) { out in
            try withValues {
                try runAttention(
                    out, $0, keys: [UnsafeRawPointer($0 + width)], values: [UnsafeRawPointer($0 + 2 * width)], shape)
            }
        }
    }

    /// Softmax attention of every row over all rows of `keysValues`, whose heads are as many.
    ///
    /// - Parameters:
    ///   - keysValues: keys, then values, side by side in each row: [any, 2 · columns]
    ///   - precision: whether all may be rounded to BF16
    /// - Returns: [rows, columns]
    public func attention(over keysValues: Tensor, heads: Int, precision: Precision = .exact) throws -> Tensor {
        guard keysValues.columns == 2 * columns, heads > 0, columns % heads == 0, keysValues.rows > 0 else {
            throw LyraError(
                .format, "queries \(shape) of \(heads) heads do not fit keys and values \(keysValues.shape)")
        }
        let shape = lk_attention_shape(
            rows: rows, kv_rows: keysValues.rows, heads: heads, kv_heads: heads, dim: columns / heads,
            q_row_stride: columns, out_row_stride: columns, kv_row_stride: 2 * columns, kv_head_stride: columns / heads,
            page_rows: keysValues.rows, causal: 0, scale: 1 / Float(columns / heads).squareRoot(), kv_type: LK_KV_F32,
            narrow_pages: 0, fast: precision.kernelFlag)
        return try Tensor([rows, columns]) { out in
            try withValues { queries in
                try keysValues.withValues {
                    try runAttention(
                        out, queries, keys: [UnsafeRawPointer($0)], values: [UnsafeRawPointer($0 + columns)], shape)
                }
            }
        }
    }
}

extension Precision {
    /// As the kernels take it.
    var kernelFlag: Int32 { self == .fast ? 1 : 0 }
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
