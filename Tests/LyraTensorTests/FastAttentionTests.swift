import CKernels
import Foundation
import LyraTensor
import TestSupport
import Testing

/// Attention in BF16 over many rows, against a slow reference with the same rounding, and against the definition.
@Suite(.serialized) final class FastAttentionTests {
    /// Keys that share a maximum, to which their weights are relative.
    private static let blockKeys = 128

    /// Whether the processor has the kernel; some processors use it only if it is named.
    private static let isHere = {
        defer { _ = lk_limit_isa(usualISA()) }
        return lk_limit_isa(LK_ISA_AVX512BF16) != 0
    }()

    init() { _ = lk_limit_isa(LK_ISA_AVX512BF16) }
    deinit { _ = lk_limit_isa(usualISA()) }

    /// Every head width with every group. Row counts around a vector and a tile of queries, and key counts around a
    /// tile and a page, alternate.
    static let cases: [AttentionCase] = {
        let lengths = [
            (7, 7), (8, 128), (15, 129), (16, 16), (17, 257), (31, 300), (33, 33), (47, 256), (48, 511), (49, 49),
            (64, 130), (70, 513),
        ]
        var all: [AttentionCase] = []
        for dim in [1, 8, 20, 64, 80, 127, 128] {
            for group in [1, 2, 6] {
                for extra in 0..<2 {
                    let (queries, rows) = lengths[(all.count * 5 + extra) % lengths.count]
                    all.append(AttentionCase(queries: queries, rows: rows, group: group, dim: dim))
                }
            }
        }
        return all
    }()

    private struct Data {
        let each: AttentionCase
        var queries: [Float]
        var keys: [Float]
        let values: [Float]

        init(_ each: AttentionCase) {
            var sequence = Sequence(each.rows * 131 + each.dim)
            self.each = each
            // Scores of a few units, so that the weights differ.
            queries = sequence.floats(each.queries * each.width).map { $0 * 4 }
            keys = sequence.floats(each.rows * each.columns)
            values = sequence.floats(each.rows * each.columns)
        }

        /// Whole pages are of the type; rows after them are float32.
        func cache(_ type: KeyValueType = .float32) throws -> KeyValueCache {
            let cache = KeyValueCache(kvHeads: each.kvHeads, headDim: each.dim, type: type, exactRows: 0)
            try cache.append(keys: keys, values: values, stride: each.columns, count: each.rows)
            try cache.quantizeOlderPages()
            return cache
        }

        /// Keys or values as the cache stores them.
        func stored(_ rows: [Float], _ type: KeyValueType) -> [Float] {
            let narrow = each.rows / KeyValueCache.pageRows * KeyValueCache.pageRows * each.columns
            return StoredReference.values(Array(rows[..<narrow]), as: type, dim: each.dim) + rows[narrow...]
        }

        /// Attention of the queries `rows`, by default all, over the cache.
        func attend(_ cache: KeyValueCache, _ precision: Precision, rows: Range<Int>? = nil) throws -> [Float] {
            let rows = rows ?? 0..<each.queries
            return try cache.attend(
                queries: Array(queries[(rows.lowerBound * each.width)...]), stride: each.width, rows: rows.count,
                heads: each.heads, precision: precision
            ).values
        }

        /// All queries over all keys.
        func overAll(_ precision: Precision) throws -> [Float] {
            let keysValues = (0..<each.rows).flatMap { row -> [Float] in
                let columns = row * each.columns..<(row + 1) * each.columns
                return Array(keys[columns]) + Array(values[columns])
            }
            let over = try Tensor([each.rows, 2 * each.columns], keysValues)
            let all = try Tensor([each.queries, each.width], queries)
            return try attention(
                all, keys: over.columns(0..<each.columns), values: over.columns(each.columns..<2 * each.columns),
                heads: each.heads, precision: precision
            ).values
        }
    }

    private static func rounded(_ value: Float) -> Float {
        Float(bitPattern: UInt32(StoredReference.bfloat16(value)) << 16)
    }

    /// Each number with its tolerance: float's errors, and a step of BF16 for weights that are so close to the middle
    /// of two BF16 numbers that these errors decide the rounding.
    private static func reference(_ data: Data, causal: Bool) -> [(want: Double, tolerance: Double)] {
        let each = data.each
        let factor: Float = 1 / Float(each.dim).squareRoot() * 1.44269504
        let (q, k) = (data.queries.map { rounded($0 * factor) }, data.keys.map(rounded))
        let v = data.values.map(rounded)
        return (0..<each.queries * each.heads).flatMap { index -> [(Double, Double)] in
            let (query, head) = (index / each.heads, index % each.heads)
            let seen = causal ? each.rows - each.queries + query + 1 : each.rows
            let (at, from) = (index * each.dim, head / each.group * each.dim)
            let scores = (0..<seen).map { row in
                (0..<each.dim).reduce(0.0) { $0 + Double(q[at + $1]) * Double(k[row * each.columns + from + $1]) }
            }
            var (top, sum) = (-Double.infinity, 0.0)
            var sums = [(Double, Double)](repeating: (0, 0), count: each.dim)
            for start in stride(from: 0, to: seen, by: blockKeys) {
                let block = start..<min(start + blockKeys, seen)
                let newTop = max(top, scores[block].max() ?? 0), keep = exp2(top - newTop)
                top = newTop
                sum *= keep
                for d in 0..<each.dim { sums[d] = (sums[d].0 * keep, sums[d].1 * keep) }
                for row in block {
                    let weight = exp2(scores[row] - top)
                    let (low, high) = (rounded(Float(weight * (1 - 4e-6))), rounded(Float(weight * (1 + 4e-6))))
                    sum += weight
                    for d in 0..<each.dim {
                        let value = Double(v[row * each.columns + from + d])
                        sums[d].0 += Double(rounded(Float(weight))) * value
                        sums[d].1 += Double(high - low) * abs(value) + weight * 4e-6 * abs(value)
                    }
                }
            }
            return sums.map { ($0.0 / sum, $0.1 / sum + 4e-6 * abs($0.0 / sum)) }
        }
    }

    private func check(_ got: [Float], _ want: [(want: Double, tolerance: Double)], _ what: String) {
        guard got.count == want.count else {
            Issue.record("\(what): \(got.count) numbers")
            return
        }
        let worst = zip(got, want).map { abs(Double($0) - $1.want) / $1.tolerance }.max() ?? 0
        #expect(worst < 1, "\(what): \(worst) times the tolerance")
    }

    @Test(.enabled(if: isHere)) func causalAttentionRoundsAsSpecified() throws {
        for each in Self.cases {
            let data = Data(each), want = Self.reference(data, causal: true)
            try check(data.attend(data.cache(), .fast), want, "\(each)")
            try check(onTiles { try data.attend(data.cache(), .fast) }, want, "\(each), tiles")
        }
    }

    @Test(.enabled(if: isHere)) func attentionOverAllRowsRoundsAsSpecified() throws {
        for each in Self.cases where each.group == 1 {
            let data = Data(each), want = Self.reference(data, causal: false)
            try check(data.overAll(.fast), want, "\(each)")
            try check(onTiles { try data.overAll(.fast) }, want, "\(each), tiles")
        }
    }

    /// Scores are sums of products of two factors, each rounded by at most 2⁻⁹; so are products of weights and values.
    @Test(.enabled(if: isHere), arguments: KeyValueType.allCases)
    func theDefinitionIsMetWithinTheRoundingOfItsFactors(_ type: KeyValueType) throws {
        for each in Self.cases {
            let data = Data(each)
            let (keys, values) = (data.stored(data.keys, type), data.stored(data.values, type))
            let want = each.attended(data.queries, keys: keys, values: values)
            let distance = try difference(data.attend(data.cache(type), .fast), want)
            #expect(distance < 0.02, "\(each)")
            #expect(distance > 1e-5, "\(each): rounded results are not so close")
        }
    }

    /// Without instructions for BF16 products, and for few rows on any processor.
    @Test func withoutTheKernelFastAttentionIsExact() throws {
        for (queries, rows) in [(1, 300), (6, 200), (40, 140)] {
            let data = Data(AttentionCase(queries: queries, rows: rows, group: 6, dim: 20))
            let cache = try data.cache()
            try onEachISA { isa in
                let same = try data.attend(cache, .fast) == data.attend(cache, .exact)
                #expect(same == (queries <= LK_FEW_ROWS || isa != "avx512bf16"), "\(isa), \(queries) rows")
            }
        }
    }

    @Test func resultsDoNotDependOnTheNumberOfThreads() throws {
        let usual = lk_threads()
        defer { lk_set_threads(usual) }
        let data = Data(AttentionCase(queries: 300, rows: 400, group: 6, dim: 40))
        let cache = try data.cache()
        let results = try [Int32(1), 2, 5, 64].map { threads in
            lk_set_threads(threads)
            return try data.attend(cache, .fast)
        }
        #expect(results.allSatisfy { $0 == results[0] })
    }

    /// A conversation gives the same numbers however it is divided into chunks of more than a few rows.
    @Test(.enabled(if: isHere)) func aRowDoesNotDependOnTheOthers() throws {
        let each = AttentionCase(queries: 150, rows: 300, group: 2, dim: 24)
        let data = Data(each), cache = try data.cache()
        let whole = try data.attend(cache, .fast)
        try onTiles {
            let onTiles = try data.attend(cache, .fast)
            #expect(try data.attend(cache, .fast, rows: 91..<150) == Array(onTiles[(91 * each.width)...]))
        }
        #expect(try data.attend(cache, .fast, rows: 91..<150) == Array(whole[(91 * each.width)...]))
        cache.truncate(to: 150 + 91)
        #expect(try data.attend(cache, .fast, rows: 0..<91) == Array(whole[..<(91 * each.width)]))
    }

    /// Scores beyond the range of e^x, exact in floats and far apart: only the largest ones count.
    @Test(.enabled(if: isHere)) func largeScoresPickOneValue() throws {
        let each = AttentionCase(queries: 40, rows: 300, group: 2, dim: 16)
        var data = Data(each)
        data.queries = data.queries.map { $0 < 0 ? -4096 : 4096 }
        data.keys = data.keys.map { $0 < 0 ? -1 : 1 }
        try check(data.attend(data.cache(), .fast), Self.reference(data, causal: true), "\(each)")
    }

    @Test(arguments: [7, 40, 256, 300], notNumbers)
    func aNaNQueryAffectsOnlyItsRow(_ count: Int, _ bad: Float) throws {
        let each = AttentionCase(queries: 7, rows: count, kvHeads: 1, group: 1, dim: 8)
        let data = Data(each), cache = try data.cache()
        var damaged = data
        damaged.queries[8] = bad
        let (want, got) = (try data.attend(cache, .fast), try damaged.attend(cache, .fast))
        #expect(got[8..<16].allSatisfy { $0.isNaN })
        #expect(got[..<8] == want[..<8] && got[16...] == want[16...])
    }
}
