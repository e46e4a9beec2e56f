import CKernels
import LyraBase

/// How a cache stores keys and values. Its newest rows are float32 in any case (`KeyValueCache.wideRows`).
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
    /// Rows at the end, at least, that stay float32 in a cache of a smaller type: what was said last is looked at most
    /// (as in KIVI, arXiv 2402.02750). Older pages are rounded, whole ones at a time, by `narrow`.
    public static let wideRows = 512

    public let kvHeads: Int
    public let headDim: Int
    public let type: KeyValueType
    private let wideRows: Int
    public private(set) var rows = 0
    /// A page holds the rows of each head together, and after all heads, for `int8`, one scale for each head and row.
    private var keyPages: [FloatStorage] = []
    private var valuePages: [FloatStorage] = []
    /// Pages from the first on that hold `type`; the others hold floats.
    public private(set) var narrowPages = 0

    public init(
        kvHeads: Int, headDim: Int, type: KeyValueType = .float32, wideRows: Int = KeyValueCache.wideRows
    ) {
        self.kvHeads = kvHeads
        self.headDim = headDim
        self.type = type
        self.wideRows = wideRows
    }

    /// Bytes that are allocated.
    public var byteCount: Int {
        keyPages.indices.reduce(0) { $0 + 2 * pageByteCount($1) }
    }

    /// Bytes of the rows that are in use, without the rest of the last page.
    public var usedByteCount: Int {
        keyPages.indices.reduce(0) {
            $0 + 2 * pageByteCount($1) / Self.pageRows * min(rows - $1 * Self.pageRows, Self.pageRows)
        }
    }

    /// Bytes that a cache allocates for `rows` rows that are appended to it: whole pages. `Int.max` if they cannot be
    /// counted.
    public static func byteCount(rows: Int, kvHeads: Int, headDim: Int, type: KeyValueType) -> Int {
        let rows = max(rows, 0), pages = rows / pageRows + (rows % pageRows == 0 ? 0 : 1)
        let narrow = type == .float32 ? 0 : max(rows - wideRows, 0) / pageRows
        func bytes(_ pages: Int, _ type: KeyValueType) -> Int {
            product(product(pages, 2), pageByteCount(kvHeads: kvHeads, headDim: headDim, type: type))
        }
        let (sum, overflow) = bytes(narrow, type).addingReportingOverflow(bytes(pages - narrow, .float32))
        return overflow ? .max : sum
    }

    /// Appends rows of keys and values.
    ///
    /// - Parameters:
    ///   - keys, values: [any, kvHeads · headDim] each
    /// - Throws: `LyraError.format` if they do not fit, `LyraError.memory`; the cache is then unchanged.
    public func append(keys: Tensor, values: Tensor) throws {
        guard keys.columns == kvHeads * headDim, keys.shape == values.shape else {
            throw LyraError(
                .format, "keys \(keys.shape) and values \(values.shape) do not fit \(kvHeads) heads of \(headDim)")
        }
        do { try reserve(rows + keys.rows) } catch {
            truncate(to: rows)
            throw error
        }
        store(keys, in: keyPages)
        store(values, in: valuePages)
        rows += keys.rows
    }

    /// Stores new rows after those that are cached.
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

    /// Rounds the pages that are not among the newest any more: after a layer has run, so that a prompt's rows see each
    /// other as they are.
    ///
    /// - Throws: `LyraError.memory`, or `.state` if the work is interrupted; the pages that are left stay as they are then.
    public func narrow() throws {
        while type != .float32, (narrowPages + 1) * Self.pageRows + wideRows <= rows {
            try Interruption.check()
            let page = narrowPages
            let made = try [keyPages[page], valuePages[page]].map { wide in
                let storage = try FloatStorage(mapping: pageFloats(type))
                withUnsafePointer(to: layout(storage, type)) {
                    lk_kv_store($0, 0, wide.base, headDim, Self.pageRows * headDim, Self.pageRows)
                }
                return storage
            }
            (keyPages[page], valuePages[page]) = (made[0], made[1])
            narrowPages += 1
        }
    }

    private func pageType(_ page: Int) -> KeyValueType { page < narrowPages ? type : .float32 }

    /// Forgets all rows from `count` on and gives back the pages that held only those.
    public func truncate(to count: Int) {
        rows = min(rows, max(count, 0))
        let pages = (rows + Self.pageRows - 1) / Self.pageRows
        keyPages.removeLast(keyPages.count - pages)
        valuePages.removeLast(valuePages.count - pages)
        narrowPages = min(narrowPages, pages)
    }

    /// How a cache stood, its newest rows as they were before they were rounded: it keeps their pages alive, of at most
    /// `wideRows` + `pageRows` rows once `narrow` has run. Once rounded since, they count in no cache's `byteCount`.
    public struct Mark {
        public let rows: Int
        fileprivate let narrowPages: Int
        fileprivate let keyPages: ArraySlice<FloatStorage>
        fileprivate let valuePages: ArraySlice<FloatStorage>
    }

    /// How the cache stands, or as it would with no more than `rows` rows.
    public func mark(rows count: Int = .max) -> Mark {
        let kept = min(rows, max(count, 0)), pages = (kept + Self.pageRows - 1) / Self.pageRows
        let narrow = min(narrowPages, pages)
        return Mark(
            rows: kept, narrowPages: narrow, keyPages: keyPages[narrow..<pages], valuePages: valuePages[narrow..<pages])
    }

    /// Forgets all rows that came after `mark`, and that others were rounded since.
    ///
    /// - Parameter mark: of this cache, which has not been cut to fewer rows since
    public func restore(to mark: Mark) {
        truncate(to: mark.rows)
        guard rows == mark.rows else { return }
        keyPages.replaceSubrange(mark.narrowPages..., with: mark.keyPages)
        valuePages.replaceSubrange(mark.narrowPages..., with: mark.valuePages)
        narrowPages = mark.narrowPages
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
    private func scales(_ storage: FloatStorage, _ type: KeyValueType) -> UnsafeMutablePointer<Float>? {
        type == .int8 ? storage.base + Self.pageRows * kvHeads * headDim / MemoryLayout<Float>.size : nil
    }

    private func scales(_ storage: FloatStorage, _ page: Int) -> UnsafeMutablePointer<Float>? {
        scales(storage, pageType(page))
    }

    /// A page as the kernels write it.
    private func layout(_ storage: FloatStorage, _ type: KeyValueType) -> lk_kv_mutable_page {
        lk_kv_mutable_page(
            data: storage.base, scales: scales(storage, type), type: type.kernelType, page_rows: Self.pageRows,
            heads: kvHeads, dim: headDim)
    }
}

// MARK: - Attention

extension KeyValueCache {
    /// Causal softmax attention of the newest positions, whose keys and values are cached already, over all cached rows.
    ///
    /// - Parameters:
    ///   - queries: [positions, heads · headDim]
    ///   - heads: query heads; they share the key/value heads in groups of equal size
    ///   - precision: `fast` may round all to BF16. A few rows are computed exactly in either case.
    /// - Returns: [positions, heads · headDim]
    /// - Throws: `LyraError.argument` for more queries than cached rows, or heads that do not make whole groups;
    ///   `LyraError.memory`
    public func attention(_ queries: Tensor, heads: Int, precision: Precision = .exact) throws -> Tensor {
        try checkHeads(heads)
        guard queries.rows <= rows, queries.columns == heads * headDim else {
            throw LyraError(.argument, "queries \(queries.shape) cannot be the newest of \(rows) cached rows")
        }
        let options = lk_attention_options(scale: scale, causal: 1, fast: precision.kernelFlag)
        return try Tensor([queries.rows, queries.columns]) { out in
            try queries.withMatrix { values, stride in
                try runAttention(
                    lk_attention_output(
                        data: out, row_stride: queries.columns, head_stride: headDim, log_sum_exp: nil),
                    lk_queries(
                        data: values, rows: queries.rows, heads: heads, dim: headDim, row_stride: stride,
                        head_stride: headDim),
                    keys: kernelPages(keyPages), values: kernelPages(valuePages), kernelLayout, options)
            }
        }
    }

    /// The mean attention weight of each cached row over all queries and heads. No causal mask.
    ///
    /// - Parameter queries: [any but none, heads · headDim], rotated; they need not be of cached positions.
    /// - Returns: [cached rows], numbers that add up to 1
    /// - Throws: `LyraError.argument` if the queries do not fit, `LyraError.memory`
    public func columnScores(queries: Tensor, heads: Int) throws -> Tensor {
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
            try checkKernel(status, "the scores of \(rows) tokens by \(queries.rows)")
        }
    }

    private func checkHeads(_ heads: Int) throws {
        guard heads > 0, kvHeads > 0, heads % kvHeads == 0 else {
            throw LyraError(.argument, "\(heads) query heads do not share \(kvHeads) key/value heads evenly")
        }
    }

    private var scale: Float { 1 / Float(headDim).squareRoot() }

    /// The cached rows as the kernels read them, without the pages.
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
    /// Shows the stored bytes of all rows, in pieces: the keys, then the values of the first page, of the second, and so
    /// on; of each, for every head, its rows that are there, and, where the type has scales, theirs as a piece of their
    /// own. A piece is valid during the call.
    ///
    /// - Throws: what `body` throws, and `LyraError.state` if the work is interrupted.
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

    /// Bytes that `forEachPiece` passes for `count` rows whose first `narrow` pages are stored in the cache's type.
    ///
    /// - Throws: `LyraError.format` for counts that cannot be.
    public func pieceBytes(rows count: Int, narrowPages narrow: Int) throws -> Int {
        try check(rows: count, narrowPages: narrow)
        func bytes(_ rows: Int, _ type: KeyValueType) -> Int {
            // A page's bytes are a multiple of its rows.
            let page = Self.pageByteCount(kvHeads: kvHeads, headDim: headDim, type: type)
            return Self.product(Self.product(2, rows), page / Self.pageRows)
        }
        let narrowRows = min(count, Self.product(narrow, Self.pageRows))
        let (sum, overflow) = bytes(narrowRows, type).addingReportingOverflow(bytes(count - narrowRows, .float32))
        return overflow ? Int.max : sum
    }

    private func check(rows count: Int, narrowPages narrow: Int) throws {
        let most = count / Self.pageRows + (count % Self.pageRows == 0 ? 0 : 1)
        guard count >= 0, 0...(type == .float32 ? 0 : most) ~= narrow else {
            throw LyraError(.format, "a cache cannot have \(count) rows with \(narrow) pages of \(type.rawValue)")
        }
    }

    /// Becomes what `forEachPiece` showed of a cache of the same heads and type: `fill` writes each piece, in the same
    /// sizes and order. Memory is taken page by page, so that a count that is a lie ends where the bytes do.
    ///
    /// - Parameter narrow: that cache's `narrowPages`
    /// - Throws: `LyraError.format` for counts that cannot be, `LyraError.memory`, and what `fill` throws; the cache is
    ///   empty then.
    package func restore(
        rows count: Int, narrowPages narrow: Int, _ fill: (UnsafeMutableRawBufferPointer) throws -> Void
    ) throws {
        truncate(to: 0)
        try check(rows: count, narrowPages: narrow)
        do {
            while rows < count {
                try Interruption.check()
                let page = keyPages.count
                if page < narrow { narrowPages = page + 1 }
                try addPage(pageType(page))
                let part = min(count - rows, Self.pageRows)
                for storage in [keyPages.last, valuePages.last].compactMap(\.self) {
                    for piece in pieces(storage, page, rows: part) { try fill(piece) }
                }
                rows += part
            }
            try self.narrow()
        } catch {
            truncate(to: 0)
            throw error
        }
    }

    /// The first rows of each head of a page: their elements, and their scales.
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
