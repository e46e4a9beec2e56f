import CKernels
import LyraTensor
import TestSupport
import Testing

/// Attention over keys and values in each stored type, against the definition over the stored values. Only float's
/// rounding remains: dot products of up to 128 terms, and e^x, which is exact to 2e-7.
@Suite(.serialized) struct StoredAttentionTests {
    private static let tolerance = 3e-6

    /// Every head width with every group. Lengths around a page and around a tile of queries alternate.
    static let cases: [AttentionCase] = {
        let lengths = [
            (1, 1), (1, 700), (2, 31), (1, 256), (40, 257), (3, 511), (1, 2), (200, 300), (25, 25), (4, 699),
        ]
        var all: [AttentionCase] = []
        for dim in [8, 20, 64, 80, 128] {
            for group in [1, 2, 6, 7] {
                for extra in 0..<2 {
                    let (queries, rows) = lengths[(all.count + extra) % lengths.count]
                    all.append(AttentionCase(queries: queries, rows: rows, group: group, dim: dim))
                }
            }
        }
        return all
    }()

    private func make(_ each: AttentionCase, _ type: KeyValueType) throws -> (
        cache: KeyValueCache, queries: [Float], keys: [Float], values: [Float]
    ) {
        var sequence = Sequence(each.rows * 131 + each.dim)
        // Scores of a few units, so that the weights differ.
        let queries = sequence.floats(each.queries * each.width).map { $0 * 4 }
        let (keys, values) = (sequence.floats(each.rows * each.columns), sequence.floats(each.rows * each.columns))
        // Rows are appended and truncated again so that all rows are quantized; in every third case, the rows of the
        // last page are not.
        let cache = KeyValueCache(kvHeads: each.kvHeads, headDim: each.dim, type: type, exactRows: 0)
        try cache.append(keys: keys, values: values, stride: each.columns, count: each.rows)
        try cache.quantizeOlderPages()
        if (each.dim + each.group + each.rows) % 3 > 0 {
            let rest = (KeyValueCache.pageRows - each.rows % KeyValueCache.pageRows) % KeyValueCache.pageRows
            let zeros = [Float](repeating: 0, count: rest * each.columns)
            try cache.append(keys: zeros, values: zeros, stride: each.columns, count: rest)
            try cache.quantizeOlderPages()
            cache.truncate(to: each.rows)
        }
        let narrow = min(cache.quantizedPages * KeyValueCache.pageRows, each.rows) * each.columns
        func stored(_ rows: [Float]) -> [Float] {
            StoredReference.values(Array(rows[..<narrow]), as: type, dim: each.dim) + rows[narrow...]
        }
        return (cache, queries, stored(keys), stored(values))
    }

    @Test(arguments: KeyValueType.allCases) func attentionUsesTheStoredValues(_ type: KeyValueType) throws {
        for each in Self.cases {
            let (cache, queries, keys, values) = try make(each, type)
            let want = each.attended(queries, keys: keys, values: values)
            try onEachISA { isa in
                let got = try cache.attend(
                    queries: queries, stride: each.width, rows: each.queries, heads: each.heads)
                #expect(difference(got.values, want) < Self.tolerance, "\(each), \(isa)")
            }
        }
    }

    @Test(arguments: KeyValueType.allCases) func meanWeightsAreTheMeanOfAllWeights(_ type: KeyValueType) throws {
        for each in Self.cases {
            let (cache, values, keys, _) = try make(each, type)
            let queries = try Tensor([each.queries, each.width], values)
            let want = each.meanAttentionWeights(values, keys: keys)
            try onEachISA { isa in
                let got = try cache.meanAttentionWeights(queries: queries, heads: each.heads).values
                #expect(difference(got, want) < Self.tolerance, "\(each), \(isa)")
            }
        }
    }

    /// There may be more queries than rows, because queries need not belong to cached positions.
    @Test func meanAttentionWeightsTakeAnyNumberOfQueries() throws {
        let each = AttentionCase(queries: 50, rows: 3, group: 2, dim: 8)
        var sequence = Sequence(1)
        let (values, keys) = (sequence.floats(50 * each.width), sequence.floats(3 * each.columns))
        let cache = KeyValueCache(kvHeads: 2, headDim: 8)
        let queries = try Tensor([50, each.width], values)
        #expect(try cache.meanAttentionWeights(queries: queries, heads: 4).values == [])
        try cache.append(keys: keys, values: keys, stride: each.columns, count: 3)
        let got = try cache.meanAttentionWeights(queries: queries, heads: 4).values
        #expect(difference(got, each.meanAttentionWeights(values, keys: keys)) < Self.tolerance)
    }

    /// Rounding errors of thousands of rows and queries do not accumulate.
    @Test func meanAttentionWeightsOfALongCacheAddUpToOne() throws {
        let (rows, count) = (20_000, 600)
        var sequence = Sequence(2)
        let cache = KeyValueCache(kvHeads: 1, headDim: 8)
        let keys = sequence.floats(rows * 8)
        try cache.append(keys: keys, values: keys, stride: 8, count: rows)
        let queries = try Tensor([count, 16], sequence.floats(count * 16).map { $0 * 4 })
        try onEachISA { isa in
            let scores = try cache.meanAttentionWeights(queries: queries, heads: 2).values
            #expect(abs(scores.reduce(0.0) { $0 + Double($1) } - 1) < 1e-6, "\(isa)")
        }
    }

    @Test(arguments: KeyValueType.allCases)
    func meanAttentionWeightsDoNotDependOnTheNumberOfThreads(_ type: KeyValueType) throws {
        let usual = lk_threads()
        defer { lk_set_threads(usual) }
        for each in [
            AttentionCase(queries: 1, rows: 700, group: 6, dim: 20),
            AttentionCase(queries: 70, rows: 699, group: 7, dim: 8),
        ] {
            let (cache, values, _, _) = try make(each, type)
            let queries = try Tensor([each.queries, each.width], values)
            try onEachISA { isa in
                lk_set_threads(1)
                let want = try cache.meanAttentionWeights(queries: queries, heads: each.heads).values
                for threads in [2, 5] {
                    lk_set_threads(Int32(threads))
                    let scores = try cache.meanAttentionWeights(queries: queries, heads: each.heads)
                    #expect(scores.values == want, "\(isa) \(threads)")
                }
            }
        }
    }

    /// A NaN key affects, in every type, exactly the queries that attend to it.
    @Test(arguments: KeyValueType.allCases) func aNaNKeyAffectsItsQueries(_ type: KeyValueType) throws {
        let rows = KeyValueCache.pageRows - 1
        let cache = KeyValueCache(kvHeads: 1, headDim: 8, type: type, exactRows: 0)
        var sequence = Sequence(3)
        var keys = sequence.floats(8 * rows)
        try cache.append(keys: keys, values: keys, stride: 8, count: rows)
        keys[3] = .nan
        let queries = sequence.floats(8)
        try onEachISA { isa in
            let before = try cache.attend(queries: queries, stride: 8, rows: 1, heads: 1)
            #expect(before.values.allSatisfy { $0.isFinite }, "\(isa)")
            try cache.append(keys: keys, values: keys, stride: 8, count: 1)
            try cache.quantizeOlderPages()
            let after = try cache.attend(queries: queries, stride: 8, rows: 1, heads: 1)
            #expect(after.values.allSatisfy { $0.isNaN }, "\(isa)")
            #expect(cache.quantizedPages == (type == .float32 ? 0 : 1), "the key is in a quantized page")
            cache.truncate(to: rows)
        }
    }
}
