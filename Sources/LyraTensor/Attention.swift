import CKernels

/// Keys and values of one layer, in pages that never move: rows `[kvHeads · headDim]`, appended and cut off at the end.
///
/// Belongs to one session; not for concurrent use.
public final class KeyValueCache {
    /// Rows of one page: small enough that a short conversation wastes little, large enough for full tiles.
    public static let pageRows = 256

    public let columns: Int
    public private(set) var rows = 0
    private var keyPages: [FloatStorage] = []
    private var valuePages: [FloatStorage] = []

    public init(columns: Int) { self.columns = columns }

    /// Bytes that are allocated.
    public var byteCount: Int { (keyPages.count + valuePages.count) * Self.pageRows * columns * 4 }

    /// Appends `count` rows that lie `stride` floats apart.
    ///
    /// - Throws: `LyraError.memory`; the cache is then unchanged.
    public func append(
        keys: UnsafePointer<Float>, values: UnsafePointer<Float>, stride: Int, count: Int
    ) throws {
        try reserve(rows + count)
        for row in 0..<count {
            let page = (rows + row) / Self.pageRows
            let offset = (rows + row) % Self.pageRows * columns
            (keyPages[page].base + offset).update(from: keys + row * stride, count: columns)
            (valuePages[page].base + offset).update(from: values + row * stride, count: columns)
        }
        rows += count
    }

    private func reserve(_ total: Int) throws {
        while keyPages.count * Self.pageRows < total {
            let key = try FloatStorage(count: Self.pageRows * columns)
            let value = try FloatStorage(count: Self.pageRows * columns)
            keyPages.append(key)
            valuePages.append(value)
        }
    }

    /// Forgets all rows from `count` on and gives back the pages that held only those.
    public func truncate(to count: Int) {
        rows = min(rows, max(count, 0))
        let pages = (rows + Self.pageRows - 1) / Self.pageRows
        keyPages.removeLast(keyPages.count - pages)
        valuePages.removeLast(valuePages.count - pages)
    }

    /// Causal attention of the newest `rows` positions over all that are cached.
    ///
    /// - Parameters:
    ///   - queries: `rows` rows of `heads · headDim`, `stride` floats apart; their keys and values are cached already.
    ///   - heads: query heads; `columns / headDim` key/value heads serve them in groups.
    /// - Returns: [rows, heads · headDim]
    public func attend(
        queries: UnsafePointer<Float>, stride: Int, rows count: Int, heads: Int, headDim: Int
    ) throws -> Tensor {
        let shape = lk_attention_shape(
            rows: count, kv_rows: rows, heads: heads, kv_heads: columns / headDim, dim: headDim, q_row_stride: stride,
            out_row_stride: heads * headDim, kv_row_stride: columns, page_rows: Self.pageRows, causal: 1,
            scale: 1 / Float(headDim).squareRoot())
        let keys = keyPages.map { Optional(UnsafePointer($0.base)) }
        let values = valuePages.map { Optional(UnsafePointer($0.base)) }
        return try Tensor([count, heads * headDim]) { out in
            try runAttention(out, queries, keys, values, shape)
        }
    }
}

extension Tensor {
    /// Softmax attention of every row over all rows.
    ///
    /// - Parameter heads: heads of q, k and v alike, which lie side by side in each row: [rows, 3 · heads · headDim]
    /// - Returns: [rows, heads · headDim]
    public func selfAttention(heads: Int) throws -> Tensor {
        let width = columns / 3
        let shape = lk_attention_shape(
            rows: rows, kv_rows: rows, heads: heads, kv_heads: heads, dim: width / heads, q_row_stride: columns,
            out_row_stride: width, kv_row_stride: columns, page_rows: rows, causal: 0,
            scale: 1 / Float(width / heads).squareRoot())
        return try Tensor([rows, width]) { out in
            try withValues { try runAttention(out, $0, [$0 + width], [$0 + 2 * width], shape) }
        }
    }
}

extension Tensor {
    /// Softmax attention of every row over all rows of `keysValues`, whose heads are as many.
    ///
    /// - Parameter keysValues: keys, then values, side by side in each row: [any, 2 · columns]
    /// - Returns: [rows, columns]
    public func attention(over keysValues: Tensor, heads: Int) throws -> Tensor {
        guard keysValues.columns == 2 * columns, heads > 0, columns % heads == 0, keysValues.rows > 0 else {
            throw LyraError(
                .format, "queries \(shape) of \(heads) heads do not fit keys and values \(keysValues.shape)")
        }
        let shape = lk_attention_shape(
            rows: rows, kv_rows: keysValues.rows, heads: heads, kv_heads: heads, dim: columns / heads,
            q_row_stride: columns, out_row_stride: columns, kv_row_stride: 2 * columns, page_rows: keysValues.rows,
            causal: 0, scale: 1 / Float(columns / heads).squareRoot())
        return try Tensor([rows, columns]) { out in
            try withValues { queries in
                try keysValues.withValues { try runAttention(out, queries, [$0], [$0 + columns], shape) }
            }
        }
    }
}

private func runAttention(
    _ out: UnsafeMutablePointer<Float>, _ queries: UnsafePointer<Float>, _ keys: [UnsafePointer<Float>?],
    _ values: [UnsafePointer<Float>?], _ shape: lk_attention_shape
) throws {
    let status = withUnsafePointer(to: shape) { lk_attention(out, queries, keys, values, $0) }
    guard status == LK_OK else { throw LyraError(.memory, "no memory for attention over \(shape.kv_rows) tokens") }
}
