import CKernels
import LyraBase
import LyraTensor
import Testing

/// The cache as storage: rows are appended, truncated, saved and restored, and its memory is counted.
@Suite(.serialized) struct KeyValueCacheTests {
    private struct Stop: Error {}

    /// A cache of two heads of five with `rows` rows of a fixed sequence.
    private func filled(
        _ rows: Int, _ type: KeyValueType, pieces: [Int] = [], exactRows: Int = KeyValueCache.exactRows
    ) throws -> KeyValueCache {
        let cache = KeyValueCache(kvHeads: 2, headDim: 5, type: type, exactRows: exactRows)
        var sequence = Sequence(21)
        let (keys, values) = (sequence.floats(1000 * 10), sequence.floats(1000 * 10))
        for piece in pieces + [rows] {
            let (from, count) = (cache.rows * 10, min(piece, rows - cache.rows))
            try cache.append(keys: Array(keys[from...]), values: Array(values[from...]), stride: 10, count: count)
            try cache.quantizeOlderPages()
        }
        return cache
    }

    private func pieces(_ cache: KeyValueCache) throws -> [[UInt8]] {
        var all: [[UInt8]] = []
        try cache.forEachPiece { all.append(Array($0)) }
        return all
    }

    @Test(arguments: KeyValueType.allCases) func rowsAppendedInPiecesAreStoredAsAtOnce(_ type: KeyValueType) throws {
        for (rows, parts) in [(1, [1]), (300, [1, 255, 1, 2]), (900, [100, 500]), (512, [256]), (20, [0, 5])] {
            for wide in [0, 100, 512] {
                let want = try pieces(filled(rows, type, exactRows: wide))
                #expect(try pieces(filled(rows, type, pieces: parts, exactRows: wide)) == want)
            }
        }
    }

    /// A page is quantized once 512 newer rows exist, and stays quantized after those are truncated.
    @Test(arguments: KeyValueType.allCases) func theNewestRowsAreNotQuantized(_ type: KeyValueType) throws {
        for (rows, pages) in [(1, 0), (512, 0), (767, 0), (768, 1), (1000, 1)] {
            #expect(try filled(rows, type).quantizedPages == (type == .float32 ? 0 : pages))
        }
        let cache = try filled(1000, type)
        cache.truncate(to: 600)
        #expect(cache.quantizedPages == (type == .float32 ? 0 : 1))
        cache.truncate(to: 10)
        #expect(cache.quantizedPages == (type == .float32 ? 0 : 1))
        cache.truncate(to: 0)
        #expect(cache.quantizedPages == 0)
    }

    @Test func rowsMayHaveGaps() throws {
        let (together, apart) = (KeyValueCache(kvHeads: 2, headDim: 2), KeyValueCache(kvHeads: 2, headDim: 2))
        var sequence = Sequence(6)
        let wide = sequence.floats(7 * 20)
        let narrow = (0..<20).flatMap { wide[$0 * 7..<$0 * 7 + 4] }
        try together.append(keys: narrow, values: narrow, stride: 4, count: 20)
        try apart.append(keys: wide, values: wide, stride: 7, count: 20)
        let want = try together.attend(queries: narrow, stride: 4, rows: 20, heads: 2)
        let got = try apart.attend(queries: wide, stride: 7, rows: 20, heads: 2)
        #expect(got.values == want.values)
    }

    /// Rows are truncated, on this page or an earlier one, and others appended.
    @Test(arguments: KeyValueType.allCases) func truncatedRowsLeaveNoTrace(_ type: KeyValueType) throws {
        for kept in [0, 1, 255, 256, 257, 600] {
            let cache = try filled(700, type)
            let narrow = cache.quantizedPages
            cache.truncate(to: kept)
            #expect(cache.rows == kept)
            // If no page was quantized meanwhile, the cache is as if the rows had never been there.
            if narrow == 0 { #expect(try pieces(cache) == pieces(filled(kept, type))) }
            let before = try pieces(cache)
            let zeros = [Float](repeating: 0, count: 10 * 40)
            try cache.append(keys: zeros, values: zeros, stride: 10, count: 40)
            cache.truncate(to: kept)
            cache.truncate(to: kept + 100)
            #expect(try pieces(cache) == before)
        }
        let cache = try filled(3, type)
        cache.truncate(to: -1)
        #expect(cache.rows == 0)
    }

    /// Restoring a mark removes newer rows, and brings back the floats of rows that were quantized since.
    @Test(arguments: KeyValueType.allCases) func aMarkRestoresQuantizedRows(_ type: KeyValueType) throws {
        for rows in [0, 1, 256, 300, 767, 1000] {
            let cache = try filled(rows, type), before = try pieces(cache), bytes = cache.byteCount
            let mark = cache.mark()
            let more = [Float](repeating: 3, count: 10 * 900)
            for _ in 0..<2 {
                try cache.append(keys: more, values: more, stride: 10, count: 900)
                try cache.quantizeOlderPages()
                #expect(cache.quantizedPages == (type == .float32 ? 0 : (rows + 900 - 512) / 256))
                cache.rollBack(to: mark)
                #expect(try cache.rows == rows && cache.byteCount == bytes && pieces(cache) == before)
            }
        }
        let cache = try filled(700, type), part = cache.mark(rows: 300)
        cache.rollBack(to: part)
        #expect(try pieces(cache) == pieces(filled(300, type)))
    }

    @Test(arguments: [(KeyValueType.float32, 40), (.float16, 20), (.bfloat16, 20), (.int8, 18)])
    func memoryIsWholePagesAndIsFreed(_ type: KeyValueType, bytesOfRow: Int) throws {
        func bytes(narrow: Int, wide: Int) -> Int { 2 * KeyValueCache.pageRows * (narrow * bytesOfRow + wide * 40) }
        for (rows, narrow, wide) in [
            (999, 1, 3), (768, 1, 2), (767, 0, 3), (513, 0, 3), (512, 0, 2), (1, 0, 1), (0, 0, 0),
        ] {
            let want = bytes(narrow: narrow, wide: wide)
            #expect(try filled(rows, type).byteCount == want)
            #expect(KeyValueCache.byteCount(rows: rows, kvHeads: 2, headDim: 5, type: type) == want)
        }
        let cache = try filled(999, type)
        for (rows, narrow, wide) in [(999, 1, 3), (513, 1, 2), (512, 1, 1), (1, 1, 0), (0, 0, 0)] {
            cache.truncate(to: rows)
            #expect(cache.byteCount == bytes(narrow: narrow, wide: wide))
            let narrowRows = min(narrow * KeyValueCache.pageRows, rows)
            #expect(cache.usedByteCount == 2 * (narrowRows * bytesOfRow + (rows - narrowRows) * 40))
        }
        #expect(KeyValueCache.byteCount(rows: .max, kvHeads: 8, headDim: 128, type: type) == .max)
        #expect(KeyValueCache.byteCount(rows: 1, kvHeads: .max, headDim: .max, type: type) == .max)
        #expect(KeyValueCache.byteCount(rows: -1, kvHeads: 8, headDim: 128, type: type) == 0)
    }

    @Test func aFailedAllocationLeavesTheCacheUnchanged() throws {
        let cache = KeyValueCache(kvHeads: 1 << 40, headDim: 1 << 10)
        #expect(throws: LyraError.self) { try cache.restore(rows: 1, quantizedPages: 0) { _ in } }
        #expect(cache.rows == 0 && cache.byteCount == 0)
    }

    @Test(arguments: KeyValueType.allCases) func aSavedCacheIsRestored(_ type: KeyValueType) throws {
        var sequence = Sequence(31)
        let queries = sequence.floats(20)
        var caches = try [0, 1, 255, 256, 300, 700, 999].map { try filled($0, type) }
        for rows in [1, 100, 257, 300] {  // truncates a quantized page
            let cache = try filled(1000, type, exactRows: 0)
            cache.truncate(to: rows)
            caches.append(cache)
        }
        for original in caches {
            let rows = original.rows, saved = try pieces(original)
            let narrow = min(original.quantizedPages * KeyValueCache.pageRows, rows)
            let bytes = 4 * ((rows - narrow) * 20 + narrow * (type == .int8 ? 5 + 4 : 10))
            #expect(saved.reduce(0) { $0 + $1.count } == bytes, "only the rows of the cache")
            let copy = try filled(4, type)  // its rows are replaced
            var next = 0
            try copy.restore(rows: rows, quantizedPages: original.quantizedPages) {
                #expect($0.count == saved[next].count)
                $0.copyBytes(from: saved[next])
                next += 1
            }
            #expect(next == saved.count && copy.rows == rows && copy.byteCount == original.byteCount)
            #expect(try pieces(copy) == saved)
            if rows > 0 {
                let want = try original.attend(queries: queries, stride: 20, rows: 1, heads: 4)
                #expect(try copy.attend(queries: queries, stride: 20, rows: 1, heads: 4).values == want.values)
            }
        }
    }

    /// The order of saved bytes. A change of it needs a new version of saved conversations.
    @Test func aSavedPageIsItsKeysThenItsValuesHeadByHead() throws {
        let (rows, heads, dim) = (KeyValueCache.pageRows, 2, 3)
        var sequence = Sequence(5)
        let parts = (0..<2).map { _ in sequence.floats(rows * heads * dim) }
        func head(_ part: [Float], _ row: Int, _ head: Int) -> ArraySlice<Float> {
            part[(row * heads + head) * dim..<(row * heads + head + 1) * dim]
        }
        for type in [KeyValueType.float32, .int8] {
            let cache = KeyValueCache(kvHeads: heads, headDim: dim, type: type, exactRows: 0)
            try cache.append(keys: parts[0], values: parts[1], stride: heads * dim, count: rows)
            try cache.quantizeOlderPages()
            cache.truncate(to: 2)
            var want: [[UInt8]] = []
            for part in parts {
                for index in 0..<heads {
                    let kept = [head(part, 0, index), head(part, 1, index)]
                    if type == .float32 {
                        want.append(kept.joined().flatMap { withUnsafeBytes(of: $0, Array.init) })
                    } else {
                        let stored = kept.map(StoredReference.codes)
                        want.append(stored.flatMap(\.codes).map(UInt8.init(bitPattern:)))
                        want.append(stored.flatMap { withUnsafeBytes(of: $0.scale, Array.init) })
                    }
                }
            }
            #expect(try pieces(cache) == want, "\(type)")
        }
    }

    @Test(arguments: KeyValueType.allCases) func aCacheThatCannotBeRestoredIsEmpty(_ type: KeyValueType) throws {
        let count = try pieces(filled(700, type, exactRows: 0)).count
        for failing in 0..<count {
            let cache = try filled(300, type)
            var next = 0
            #expect(throws: Stop.self) {
                try cache.restore(rows: 700, quantizedPages: type == .float32 ? 0 : 2) { piece in
                    if next == failing { throw Stop() }
                    next += 1
                    piece.initializeMemory(as: UInt8.self, repeating: 0)
                }
            }
            #expect(cache.rows == 0 && cache.byteCount == 0)
        }
        let cache = try filled(300, type)
        for (rows, pages) in [(-1, 0), (10, -1), (10, 2), (.min, 0), (1, .max)] {
            let error = #expect(throws: LyraError.self) {
                try cache.restore(rows: rows, quantizedPages: pages) { _ in }
            }
            #expect(error?.code == .format && cache.rows == 0 && cache.byteCount == 0)
            #expect(throws: LyraError.self) { try cache.pieceBytes(rows: rows, quantizedPages: pages) }
        }
    }

    @Test(arguments: KeyValueType.allCases) func theSizeOfASavedCacheIsKnownBeforehand(_ type: KeyValueType) throws {
        for (rows, wide) in [(0, 0), (1, 1), (255, 255), (256, 256), (700, 0), (900, 300)] {
            let cache = try filled(rows, type, exactRows: wide)
            var bytes = 0
            try cache.forEachPiece { bytes += $0.count }
            #expect(try cache.pieceBytes(rows: rows, quantizedPages: cache.quantizedPages) == bytes)
        }
        let cache = KeyValueCache(kvHeads: 2, headDim: 5, type: type)
        #expect(try cache.pieceBytes(rows: .max, quantizedPages: 0) == .max)
    }

    /// A count of rows that is too large takes no more memory than the rows that exist.
    @Test func aFalseCountEndsWithTheBytes() throws {
        let cache = KeyValueCache(kvHeads: 2, headDim: 5)
        var filled = 0
        #expect(throws: Stop.self) {
            try cache.restore(rows: .max, quantizedPages: 0) { piece in
                if filled == 10 { throw Stop() }
                filled += 1
                piece.initializeMemory(as: UInt8.self, repeating: 0)
            }
        }
        #expect(cache.rows == 0 && cache.byteCount == 0)
    }

    @Test func queriesOfWrongShapesAreRefused() throws {
        let cache = try filled(3, .float32)
        let four = [Float](repeating: 0, count: 4 * 20)
        #expect(throws: LyraError.self) { try cache.attend(queries: four, stride: 20, rows: 4, heads: 4) }
        for heads in [3, 0, -2, 1] {
            #expect(throws: LyraError.self) { try cache.attend(queries: four, stride: 20, rows: 1, heads: heads) }
            #expect(throws: LyraError.self) {
                try cache.meanAttentionWeights(queries: Tensor([4, 20], four), heads: heads)
            }
        }
        for shape in [[8, 10], [0, 20], [80, 1]] {
            let queries = try Tensor(shape, Array(four.prefix(shape.reduce(1, *))))
            #expect(throws: LyraError.self) { try cache.meanAttentionWeights(queries: queries, heads: 4) }
        }
    }
}
