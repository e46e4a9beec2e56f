import CKernels

/// How a cache stores keys and values.
public enum KeyValueType: String, Sendable, CaseIterable {
    case float32 = "f32"
    /// Rounded to nearest; what is beyond 65,504 becomes infinite.
    case float16 = "f16"
    /// Rounded to nearest.
    case bfloat16 = "bf16"
    /// Whole numbers of -127…127, and one scale for each row and head: its largest magnitude / 127.
    case int8 = "q8"

    /// Bytes of one element, the scales left out.
    fileprivate var size: Int {
        switch self {
        case .float32: 4
        case .float16, .bfloat16: 2
        case .int8: 1
        }
    }

    fileprivate var kernelType: lk_kv_type {
        switch self {
        case .float32: LK_KV_F32
        case .float16: LK_KV_F16
        case .bfloat16: LK_KV_BF16
        case .int8: LK_KV_Q8
        }
    }
}

/// Keys and values of one layer, in pages that never move: rows `[kvHeads · headDim]`, appended and cut off at the end.
///
/// Belongs to one session; not for concurrent use.
public final class KeyValueCache {
    /// Rows of one page: small enough that a short conversation wastes little, large enough for full tiles.
    public static let pageRows = 256

    public let kvHeads: Int
    public let headDim: Int
    public let type: KeyValueType
    public private(set) var rows = 0
    /// A page holds the elements of its rows, and after them, for `int8`, one scale for each row and head.
    private var keyPages: [FloatStorage] = []
    private var valuePages: [FloatStorage] = []

    public init(kvHeads: Int, headDim: Int, type: KeyValueType = .float32) {
        self.kvHeads = kvHeads
        self.headDim = headDim
        self.type = type
    }

    /// Bytes that are allocated.
    public var byteCount: Int {
        Self.byteCount(
            rows: keyPages.count * Self.pageRows, kvHeads: kvHeads, headDim: headDim, type: type)
    }

    /// Bytes that a cache allocates for `rows` rows: whole pages. `Int.max` if they cannot be counted.
    public static func byteCount(rows: Int, kvHeads: Int, headDim: Int, type: KeyValueType) -> Int {
        let pages = max(rows, 0) / pageRows + (max(rows, 0) % pageRows == 0 ? 0 : 1)
        return product(product(pages, 2), pageByteCount(kvHeads: kvHeads, headDim: headDim, type: type))
    }

    /// Appends `count` rows that lie `stride` floats apart.
    ///
    /// - Throws: `LyraError.memory`; the cache is then unchanged.
    public func append(
        keys: UnsafePointer<Float>, values: UnsafePointer<Float>, stride: Int, count: Int
    ) throws {
        do { try reserve(rows + count) } catch {
            truncate(to: rows)
            throw error
        }
        var done = 0
        while done < count {
            let (page, row) = (rows + done).quotientAndRemainder(dividingBy: Self.pageRows)
            let part = min(count - done, Self.pageRows - row)
            for (storage, source) in [(keyPages[page], keys), (valuePages[page], values)] {
                lk_kv_store(
                    storage.base, scales(storage), type.kernelType, row, source + done * stride, stride, part, kvHeads,
                    headDim)
            }
            done += part
        }
        rows += count
    }

    /// Forgets all rows from `count` on and gives back the pages that held only those.
    public func truncate(to count: Int) {
        rows = min(rows, max(count, 0))
        let pages = (rows + Self.pageRows - 1) / Self.pageRows
        keyPages.removeLast(keyPages.count - pages)
        valuePages.removeLast(valuePages.count - pages)
    }

    private func reserve(_ total: Int) throws {
        while keyPages.count * Self.pageRows < total { try addPage() }
    }

    private func addPage() throws {
        let count = Self.pageByteCount(kvHeads: kvHeads, headDim: headDim, type: type) / MemoryLayout<Float>.size
        let key = try FloatStorage(mapping: count)
        valuePages.append(try FloatStorage(mapping: count))
        keyPages.append(key)
    }

    /// Always whole floats, for a page has a multiple of four rows.
    private static func pageByteCount(kvHeads: Int, headDim: Int, type: KeyValueType) -> Int {
        let headBytes = product(headDim, type.size)
        let (row, overflow) = headBytes.addingReportingOverflow(type == .int8 ? MemoryLayout<Float>.size : 0)
        return overflow ? Int.max : product(pageRows, product(kvHeads, row))
    }

    /// `Int.max` where the product of two counts does not fit.
    private static func product(_ a: Int, _ b: Int) -> Int {
        let (result, overflow) = a.multipliedReportingOverflow(by: b)
        return overflow ? Int.max : result
    }

    /// Where a page's scales are, if it has any.
    private func scales(_ page: FloatStorage) -> UnsafeMutablePointer<Float>? {
        type == .int8 ? page.base + Self.pageRows * kvHeads * headDim / MemoryLayout<Float>.size : nil
    }
}

// MARK: - Attention

extension KeyValueCache {
    /// Causal attention of the newest `rows` positions over all that are cached.
    ///
    /// - Parameters:
    ///   - queries: `rows` rows of `heads · headDim`, `stride` floats apart; their keys and values are cached already.
    ///   - heads: query heads; the key/value heads serve them in groups.
    /// - Returns: [rows, heads · headDim]
    /// - Throws: `LyraError.argument` for more queries than cached rows, or heads that do not make whole groups;
    ///   `LyraError.memory`
    public func attend(queries: UnsafePointer<Float>, stride: Int, rows count: Int, heads: Int) throws -> Tensor {
        try checkHeads(heads)
        guard count <= rows else {
            throw LyraError(.argument, "\(count) queries cannot be the newest of \(rows) cached rows")
        }
        let shape = shape(rows: count, heads: heads, stride: stride, causal: true)
        return try Tensor([count, heads * headDim]) { out in
            try runAttention(
                out, queries, keys: keyPages.map(data), values: valuePages.map(data), keyScales: keyPages.map(factors),
                valueScales: valuePages.map(factors), shape)
        }
    }

    /// How much each cached row is looked at: the mean over all queries and heads of softmax over all cached rows, where
    /// every query sees every row.
    ///
    /// - Parameter queries: [any but none, heads · headDim], rotated; they need not be of cached positions.
    /// - Returns: one number for each cached row; they add up to 1.
    /// - Throws: `LyraError.argument` if the queries do not fit, `LyraError.memory`
    public func columnScores(queries: Tensor, heads: Int) throws -> [Float] {
        try checkHeads(heads)
        guard queries.rows > 0, queries.columns == heads * headDim else {
            throw LyraError(.argument, "queries \(queries.shape) are not rows of \(heads) heads of \(headDim)")
        }
        let shape = shape(rows: queries.rows, heads: heads, stride: queries.columns, causal: false)
        let (keys, scales) = (keyPages.map(data), keyPages.map(factors))
        return try [Float](unsafeUninitializedCapacity: rows) { buffer, written in
            guard let out = buffer.baseAddress, rows > 0 else { return }
            let status = queries.withValues { values in
                withUnsafePointer(to: shape) { lk_attention_columns(out, values, keys, scales, $0) }
            }
            guard status == LK_OK else {
                throw LyraError(.memory, "no memory for the scores of \(rows) tokens by \(queries.rows)")
            }
            written = rows
        }
    }

    private func checkHeads(_ heads: Int) throws {
        guard heads > 0, kvHeads > 0, heads % kvHeads == 0 else {
            throw LyraError(.argument, "\(heads) query heads do not share \(kvHeads) key/value heads evenly")
        }
    }

    private func shape(rows count: Int, heads: Int, stride: Int, causal: Bool) -> lk_attention_shape {
        lk_attention_shape(
            rows: count, kv_rows: rows, heads: heads, kv_heads: kvHeads, dim: headDim, q_row_stride: stride,
            out_row_stride: heads * headDim, kv_row_stride: kvHeads * headDim, page_rows: Self.pageRows,
            causal: causal ? 1 : 0, scale: 1 / Float(headDim).squareRoot(), kv_type: type.kernelType)
    }

    private func data(_ page: FloatStorage) -> UnsafeRawPointer? { UnsafeRawPointer(page.base) }
    private func factors(_ page: FloatStorage) -> UnsafePointer<Float>? { scales(page).map { UnsafePointer($0) } }
}

// MARK: - Saving

extension KeyValueCache {
    /// Shows the stored bytes of all rows, in pieces: the keys, then the values of the first page, of the second, and so
    /// on, each cut to the rows that are there. Where the type has scales, those of the keys follow the keys as a piece
    /// of their own, and those of the values the values. A piece is valid during the call.
    public func forEachPiece(_ body: (UnsafeRawBufferPointer) throws -> Void) rethrows {
        for page in keyPages.indices {
            for storage in [keyPages[page], valuePages[page]] {
                for piece in pieces(storage, rows: min(rows - page * Self.pageRows, Self.pageRows)) {
                    try body(UnsafeRawBufferPointer(piece))
                }
            }
        }
    }

    /// Becomes what `forEachPiece` showed of a cache of the same heads and type: `fill` writes each piece, in the same
    /// sizes and order. Memory is taken page by page, so that a count that is a lie ends where the bytes do.
    ///
    /// - Throws: `LyraError.argument` for a negative count, `LyraError.memory`, and what `fill` throws; the cache is empty
    ///   then.
    public func restore(rows count: Int, _ fill: (UnsafeMutableRawBufferPointer) throws -> Void) throws {
        truncate(to: 0)
        guard count >= 0 else { throw LyraError(.argument, "a cache cannot have \(count) rows") }
        do {
            while rows < count {
                try addPage()
                let part = min(count - rows, Self.pageRows)
                for storage in [keyPages.last, valuePages.last].compactMap(\.self) {
                    for piece in pieces(storage, rows: part) { try fill(piece) }
                }
                rows += part
            }
        } catch {
            truncate(to: 0)
            throw error
        }
    }

    /// The first rows of a page: their elements, and their scales.
    private func pieces(_ page: FloatStorage, rows count: Int) -> [UnsafeMutableRawBufferPointer] {
        let heads = count * kvHeads
        let elements = UnsafeMutableRawBufferPointer(start: page.base, count: heads * headDim * type.size)
        guard let scales = scales(page) else { return [elements] }
        return [elements, UnsafeMutableRawBufferPointer(UnsafeMutableBufferPointer(start: scales, count: heads))]
    }
}
