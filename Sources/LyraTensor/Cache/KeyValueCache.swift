import CKernels
import LyraBase

/// How a cache stores older keys and values. The newest rows are always float32 (`KeyValueCache.exactRows`).
public enum KeyValueType: String, Sendable, CaseIterable {
    case float32 = "f32"
    /// Rounded to nearest; magnitudes beyond 65,504 become infinite.
    case float16 = "f16"
    /// Rounded to nearest.
    case bfloat16 = "bf16"
    /// Integers from -127 to 127, with one scale for each row and head: the largest magnitude / 127.
    case int8 = "q8"

    /// Bytes of one element, without scales.
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

/// Keys and values of one layer: rows `[kvHeads · headDim]` that are appended and truncated at the end. Pages never
/// move.
///
/// Belongs to one session; not for concurrent use.
public final class KeyValueCache {
    /// Rows of a page: small enough that a short conversation wastes little memory, large enough for full tiles.
    public static let pageRows = 256
    /// The minimum number of newest rows that stay float32, because they get the most attention (as in KIVI, arXiv
    /// 2402.02750). `quantizeOlderPages` quantizes older rows in whole pages.
    public static let exactRows = 512

    public let kvHeads: Int
    public let headDim: Int
    public let type: KeyValueType
    private let exactRows: Int
    public private(set) var rows = 0
    /// A page holds the rows of one head after the other; `int8` pages end with one scale for each head and row.
    private var keyPages: [FloatStorage] = []
    private var valuePages: [FloatStorage] = []
    /// Number of leading pages stored as `type`; the remaining pages hold floats.
    public private(set) var quantizedPages = 0

    public init(
        kvHeads: Int, headDim: Int, type: KeyValueType = .float32, exactRows: Int = KeyValueCache.exactRows
    ) {
        self.kvHeads = kvHeads
        self.headDim = headDim
        self.type = type
        self.exactRows = exactRows
    }

    /// Allocated bytes.
    public var byteCount: Int {
        keyPages.indices.reduce(0) { $0 + 2 * pageByteCount($1) }
    }

    /// Bytes of the cached rows, without the unused end of the last page.
    public var usedByteCount: Int {
        keyPages.indices.reduce(0) {
            $0 + 2 * pageByteCount($1) / Self.pageRows * min(rows - $1 * Self.pageRows, Self.pageRows)
        }
    }

    /// Bytes that a cache allocates for `rows` appended rows, in whole pages. `Int.max` on overflow.
    public static func byteCount(rows: Int, kvHeads: Int, headDim: Int, type: KeyValueType) -> Int {
        let rows = max(rows, 0), pages = rows / pageRows + (rows % pageRows == 0 ? 0 : 1)
        let quantized = type == .float32 ? 0 : max(rows - exactRows, 0) / pageRows
        func bytes(_ pages: Int, _ type: KeyValueType) -> Int {
            pageByteCount(kvHeads: kvHeads, headDim: headDim, type: type).saturatingMultiplying(by: 2)
                .saturatingMultiplying(by: pages)
        }
        return bytes(quantized, type).saturatingAdding(bytes(pages - quantized, .float32))
    }

    /// Appends rows of keys and values.
    ///
    /// - Parameters:
    ///   - keys, values: [any, kvHeads · headDim] each
    /// - Throws: `LyraError.argument` if the shapes do not fit, `LyraError.memory`; the cache is then unchanged.
    public func append(keys: Tensor, values: Tensor) throws {
        guard keys.columns == kvHeads * headDim, keys.shape == values.shape else {
            throw LyraError(
                .argument, "keys \(keys.shape) and values \(values.shape) do not fit \(kvHeads) heads of \(headDim)")
        }
        do { try reserve(rows + keys.rows) } catch {
            truncate(to: rows)
            throw error
        }
        store(keys, in: keyPages)
        store(values, in: valuePages)
        rows += keys.rows
    }

    /// Writes rows after the cached ones.
    private func store(_ new: Tensor, in pages: [FloatStorage]) {
        new.withMatrix { source, stride in
            var done = 0
            while done < new.rows {
                let (page, row) = (rows + done).quotientAndRemainder(dividingBy: Self.pageRows)
                let count = min(new.rows - done, Self.pageRows - row)
                withUnsafePointer(to: layout(pages[page], pageType(page))) {
                    lk_kv_store($0, row, source + done * stride, stride, headDim, count)
                }
                done += count
            }
        }
    }

    /// Quantizes the pages that are no longer among the newest. Called after a layer has run, so that the rows of a
    /// prompt attend to each other's exact keys and values.
    ///
    /// - Throws: `LyraError.memory`, or `.state` if interrupted; the remaining pages then stay float32.
    public func quantizeOlderPages() throws {
        while type != .float32, (quantizedPages + 1) * Self.pageRows + exactRows <= rows {
            try Interruption.check()
            let page = quantizedPages
            let made = try [keyPages[page], valuePages[page]].map { exact in
                let storage = try FloatStorage(mapping: pageFloats(type))
                withUnsafePointer(to: layout(storage, type)) {
                    lk_kv_store($0, 0, exact.base, headDim, Self.pageRows * headDim, Self.pageRows)
                }
                return storage
            }
            (keyPages[page], valuePages[page]) = (made[0], made[1])
            quantizedPages += 1
        }
    }

    private func pageType(_ page: Int) -> KeyValueType { page < quantizedPages ? type : .float32 }

    /// Removes all rows from `count` on and frees pages that become empty.
    public func truncate(to count: Int) {
        rows = min(rows, max(count, 0))
        let pages = (rows + Self.pageRows - 1) / Self.pageRows
        keyPages.removeLast(keyPages.count - pages)
        valuePages.removeLast(valuePages.count - pages)
        quantizedPages = min(quantizedPages, pages)
    }

    /// A state that a cache can roll back to. The mark keeps its float32 pages alive: at most
    /// `exactRows` + `pageRows` rows once `quantizeOlderPages` has run. After the cache has quantized such a page, the
    /// mark's copy counts in `bytesHeld(by:rows:)`.
    public struct Mark {
        public let rows: Int
        fileprivate let quantizedPages: Int
        fileprivate let keyPages: ArraySlice<FloatStorage>
        fileprivate let valuePages: ArraySlice<FloatStorage>
    }

    /// Marks the current state, or the state after truncation to `rows` rows.
    public func mark(rows count: Int = .max) -> Mark {
        let kept = min(rows, max(count, 0)), pages = (kept + Self.pageRows - 1) / Self.pageRows
        let quantized = min(quantizedPages, pages)
        return Mark(
            rows: kept, quantizedPages: quantized, keyPages: keyPages[quantized..<pages],
            valuePages: valuePages[quantized..<pages])
    }

    /// Removes all rows appended since `mark`, and undoes quantization since then.
    ///
    /// - Parameter mark: a mark of this cache, which has not been truncated below the mark's rows since
    public func rollBack(to mark: Mark) {
        truncate(to: mark.rows)
        guard rows == mark.rows else { return }
        keyPages.replaceSubrange(mark.quantizedPages..., with: mark.keyPages)
        valuePages.replaceSubrange(mark.quantizedPages..., with: mark.valuePages)
        quantizedPages = mark.quantizedPages
    }

    /// Bytes that only `mark` keeps alive: its float32 pages that the cache has quantized since, or that will be
    /// quantized by the time the cache has `count` rows.
    public func bytesHeld(by mark: Mark, rows count: Int = 0) -> Int {
        let quantized = type == .float32 ? 0 : max(quantizedPages, (max(count, exactRows) - exactRows) / Self.pageRows)
        let pages = max(min(quantized, mark.keyPages.endIndex) - mark.quantizedPages, 0)
        return 2 * pages * Self.pageByteCount(kvHeads: kvHeads, headDim: headDim, type: .float32)
    }

    private func reserve(_ total: Int) throws {
        while keyPages.count * Self.pageRows < total { try addPage(.float32) }
    }

    private func addPage(_ type: KeyValueType) throws {
        let key = try FloatStorage(mapping: pageFloats(type))
        valuePages.append(try FloatStorage(mapping: pageFloats(type)))
        keyPages.append(key)
    }

    private func pageByteCount(_ page: Int) -> Int {
        Self.pageByteCount(kvHeads: kvHeads, headDim: headDim, type: pageType(page))
    }

    private func pageFloats(_ type: KeyValueType) -> Int {
        Self.pageByteCount(kvHeads: kvHeads, headDim: headDim, type: type) / MemoryLayout<Float>.size
    }

    /// Bytes of a page: a whole number of floats, because a page has a multiple of four rows.
    private static func pageByteCount(kvHeads: Int, headDim: Int, type: KeyValueType) -> Int {
        let elements = headDim.saturatingMultiplying(by: type.size)
        let row = elements.saturatingAdding(type == .int8 ? MemoryLayout<Float>.size : 0)
        return row.saturatingMultiplying(by: kvHeads).saturatingMultiplying(by: pageRows)
    }

    /// The page's scales; nil for a type without scales.
    private func scales(_ storage: FloatStorage, _ type: KeyValueType) -> UnsafeMutablePointer<Float>? {
        type == .int8 ? storage.base + Self.pageRows * kvHeads * headDim / MemoryLayout<Float>.size : nil
    }

    private func scales(_ storage: FloatStorage, _ page: Int) -> UnsafeMutablePointer<Float>? {
        scales(storage, pageType(page))
    }

    /// The page as the kernels write it.
    private func layout(_ storage: FloatStorage, _ type: KeyValueType) -> lk_kv_mutable_page {
        lk_kv_mutable_page(
            data: storage.base, scales: scales(storage, type), type: type.kernelType, page_rows: Self.pageRows,
            heads: kvHeads, dim: headDim)
    }
}

// MARK: - Attention

extension KeyValueCache {
    /// Causal softmax attention of the newest positions over all cached rows. Their keys and values must be cached
    /// already.
    ///
    /// - Parameters:
    ///   - queries: [positions, heads · headDim]
    ///   - heads: query heads; they share the key/value heads in groups of equal size
    ///   - precision: `fast` may round operands to BF16. A few rows are computed exactly at either precision.
    /// - Returns: [positions, heads · headDim]
    /// - Throws: `LyraError.argument` for more queries than cached rows, or if `heads` is not a multiple of the
    ///   key/value heads; `LyraError.memory`
    public func attention(_ queries: Tensor, heads: Int, precision: Precision = .exact) throws -> Tensor {
        try Tensor([queries.rows, queries.columns]) {
            try attend(queries, heads: heads, precision: precision, to: $0, logSumExp: nil)
        }
    }

    /// The same, and the log-sum-exp of each query and head: ln Σ exp(score) over the rows up to the query's own, which
    /// a gradient needs. A score is the product of query and key / √headDim.
    ///
    /// - Returns: the output [positions, heads · headDim], and the log-sum-exps [positions, heads]
    public func attentionWithLogSumExp(
        _ queries: Tensor, heads: Int, precision: Precision = .exact
    ) throws -> (output: Tensor, logSumExp: Tensor) {
        try Tensor.pair([queries.rows, queries.columns], [queries.rows, max(heads, 0)]) {
            try attend(queries, heads: heads, precision: precision, to: $0, logSumExp: $1)
        }
    }

    private func attend(
        _ queries: Tensor, heads: Int, precision: Precision, to out: UnsafeMutablePointer<Float>,
        logSumExp: UnsafeMutablePointer<Float>?
    ) throws {
        try checkHeads(heads)
        guard queries.rows <= rows, queries.columns == heads * headDim else {
            throw LyraError(
                .argument,
                "queries \(queries.shape) of \(heads) heads of \(headDim) cannot be the newest of \(rows) cached rows")
        }
        let options = lk_attention_options(scale: scale, causal: 1, fast: precision.kernelFlag)
        try queries.withMatrix { values, stride in
            try runAttention(
                lk_attention_output(
                    data: out, row_stride: queries.columns, head_stride: headDim, log_sum_exp: logSumExp),
                lk_queries(
                    data: values, rows: queries.rows, heads: heads, dim: headDim, row_stride: stride,
                    head_stride: headDim),
                keys: kernelPages(keyPages), values: kernelPages(valuePages), kernelLayout, options)
        }
    }

    /// The mean attention weight of each cached row over all queries and heads. No causal mask.
    ///
    /// - Parameter queries: [at least 1, heads · headDim], rotated; their positions need not be cached.
    /// - Returns: [cached rows]; the weights add up to 1
    /// - Throws: `LyraError.argument` if the queries do not fit, `LyraError.memory`
    public func meanAttentionWeights(queries: Tensor, heads: Int) throws -> Tensor {
        try checkHeads(heads)
        guard queries.rows > 0, queries.columns == heads * headDim else {
            throw LyraError(.argument, "queries \(queries.shape) are not rows of \(heads) heads of \(headDim)")
        }
        let keys = kernelPages(keyPages)
        return try Tensor([rows]) { out in
            guard rows > 0 else { return }
            let status = queries.withMatrix { values, stride in
                keys.withUnsafeBufferPointer { keys in
                    var kernelQueries = lk_queries(
                        data: values, rows: queries.rows, heads: heads, dim: headDim, row_stride: stride,
                        head_stride: headDim)
                    var keysValues = kernelLayout
                    keysValues.keys = keys.baseAddress
                    return lk_mean_attention_weights(out, &kernelQueries, &keysValues, scale)
                }
            }
            try checkKernel(status, "attention weights of \(rows) tokens for \(queries.rows) queries")
        }
    }

    private func checkHeads(_ heads: Int) throws {
        guard heads > 0, kvHeads > 0, heads % kvHeads == 0 else {
            throw LyraError(.argument, "\(heads) query heads do not share \(kvHeads) key/value heads evenly")
        }
    }

    private var scale: Float { 1 / Float(headDim).squareRoot() }

    /// The layout of the cached rows as the kernels read them, without the page list.
    private var kernelLayout: lk_keys_values {
        lk_keys_values(
            keys: nil, values: nil, rows: rows, heads: kvHeads, page_rows: Self.pageRows, row_stride: headDim,
            head_stride: Self.pageRows * headDim)
    }

    private func kernelPages(_ storages: [FloatStorage]) -> [lk_kv_page] {
        storages.enumerated().map { page, storage in
            lk_kv_page(data: storage.base, scales: scales(storage, page), type: pageType(page).kernelType)
        }
    }
}

// MARK: - Saving

extension KeyValueCache {
    /// Calls `body` with the stored bytes of all rows, page by page: first the keys, then the values. Within a page,
    /// each head yields its used rows and then, for a type with scales, their scales. The buffer is valid only during
    /// the call.
    ///
    /// - Throws: any error of `body`, and `LyraError.state` if interrupted.
    package func forEachPiece(_ body: (UnsafeRawBufferPointer) throws -> Void) throws {
        for page in keyPages.indices {
            try Interruption.check()
            for storage in [keyPages[page], valuePages[page]] {
                for piece in pieces(storage, page, rows: min(rows - page * Self.pageRows, Self.pageRows)) {
                    try body(UnsafeRawBufferPointer(piece))
                }
            }
        }
    }

    /// Bytes that `forEachPiece` passes for `count` rows whose first `quantized` pages are stored in the cache's type.
    ///
    /// - Throws: `LyraError.format` for impossible counts: a saved conversation states them.
    public func pieceBytes(rows count: Int, quantizedPages quantized: Int) throws -> Int {
        try check(rows: count, quantizedPages: quantized)
        func bytes(_ rows: Int, _ type: KeyValueType) -> Int {
            // A page's byte count is a multiple of its rows.
            let page = Self.pageByteCount(kvHeads: kvHeads, headDim: headDim, type: type)
            return (page / Self.pageRows).saturatingMultiplying(by: 2).saturatingMultiplying(by: rows)
        }
        let quantizedRows = min(count, quantized.saturatingMultiplying(by: Self.pageRows))
        return bytes(quantizedRows, type).saturatingAdding(bytes(count - quantizedRows, .float32))
    }

    private func check(rows count: Int, quantizedPages quantized: Int) throws {
        let most = count / Self.pageRows + (count % Self.pageRows == 0 ? 0 : 1)
        guard count >= 0, 0...(type == .float32 ? 0 : most) ~= quantized else {
            throw LyraError(.format, "a cache cannot have \(count) rows with \(quantized) pages of \(type.rawValue)")
        }
    }

    /// Rebuilds the cache that `forEachPiece` saved. The cache must have the same heads and type; `fill` writes each
    /// buffer, in the same sizes and order. Memory is allocated page by page, so that a count that is too large fails
    /// where the data end, not in a huge allocation.
    ///
    /// - Parameter quantized: `quantizedPages` of the saved cache
    /// - Throws: `LyraError.format` for impossible counts, `LyraError.memory`, and any error of `fill`; the cache is
    ///   then empty.
    package func restore(
        rows count: Int, quantizedPages quantized: Int, _ fill: (UnsafeMutableRawBufferPointer) throws -> Void
    ) throws {
        truncate(to: 0)
        try check(rows: count, quantizedPages: quantized)
        do {
            while rows < count {
                try Interruption.check()
                let page = keyPages.count
                if page < quantized { quantizedPages = page + 1 }
                try addPage(pageType(page))
                let new = min(count - rows, Self.pageRows)
                for storage in [keyPages.last, valuePages.last].compactMap(\.self) {
                    for piece in pieces(storage, page, rows: new) { try fill(piece) }
                }
                rows += new
            }
            try quantizeOlderPages()
        } catch {
            truncate(to: 0)
            throw error
        }
    }

    /// The first `count` rows of each head of a page: elements, and scales.
    private func pieces(_ storage: FloatStorage, _ page: Int, rows count: Int) -> [UnsafeMutableRawBufferPointer] {
        let rowBytes = headDim * pageType(page).size, base = UnsafeMutableRawPointer(storage.base)
        return (0..<kvHeads).flatMap { head in
            let first = head * Self.pageRows
            let elements = UnsafeMutableRawBufferPointer(start: base + first * rowBytes, count: count * rowBytes)
            guard let scales = scales(storage, page) else { return [elements] }
            let factors = UnsafeMutableBufferPointer(start: scales + first, count: count)
            return [elements, UnsafeMutableRawBufferPointer(factors)]
        }
    }
}
