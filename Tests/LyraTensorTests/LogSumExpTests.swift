import CKernels
import Foundation
import LyraBase
import LyraTensor
import TestSupport
import Testing

/// The log-sum-exp of each query's scores, which the attention kernels also return, against the definition.
@Suite(.serialized) struct LogSumExpTests {
    private static let pageRows = 64

    struct Case: CustomTestStringConvertible, Sendable {
        var each: AttentionCase
        var type: KeyValueType
        var causal = true
        var precision = Precision.exact
        var testDescription: String {
            "\(each.queries) of \(each.rows), group \(each.group), dim \(each.dim), \(type), \(causal), \(precision)"
        }
    }

    static let cases: [Case] = {
        let shapes = [
            AttentionCase(queries: 1, rows: 1, group: 1, dim: 8),
            AttentionCase(queries: 1, rows: 300, group: 6, dim: 20),
            AttentionCase(queries: 7, rows: 130, group: 2, dim: 16),
            AttentionCase(queries: 70, rows: 200, group: 3, dim: 24),
        ]
        return shapes.flatMap { each in
            KeyValueType.allCases.flatMap { type in
                [true, false].flatMap { causal in
                    [Precision.exact, .fast].map { Case(each: each, type: type, causal: causal, precision: $0) }
                }
            }
        }
    }()

    /// Keys and values in pages of the stored type, the last page in floats.
    private final class Pages {
        var keys: [lk_kv_page] = []
        var values: [lk_kv_page] = []
        private var owned: [UnsafeMutableRawPointer] = []

        init(_ each: AttentionCase, _ type: KeyValueType, keys k: [Float], values v: [Float]) {
            for start in stride(from: 0, to: each.rows, by: pageRows) {
                let rows = min(pageRows, each.rows - start), last = start + rows == each.rows
                keys.append(page(each, last ? .float32 : type, Array(k[(start * each.columns)...]), rows))
                values.append(page(each, last ? .float32 : type, Array(v[(start * each.columns)...]), rows))
            }
        }

        deinit { owned.forEach { $0.deallocate() } }

        private func page(_ each: AttentionCase, _ type: KeyValueType, _ rows: [Float], _ count: Int) -> lk_kv_page {
            let kernelTypes: [KeyValueType: lk_kv_type] = [
                .float32: LK_KV_F32, .float16: LK_KV_F16, .bfloat16: LK_KV_BF16, .int8: LK_KV_Q8,
            ]
            let elements = pageRows * each.columns
            let data = UnsafeMutableRawPointer.allocate(byteCount: elements * 4, alignment: 64)
            let scales = UnsafeMutablePointer<Float>.allocate(capacity: pageRows * each.kvHeads)
            owned += [data, UnsafeMutableRawPointer(scales)]
            var target = lk_kv_mutable_page(
                data: data, scales: scales, type: kernelTypes[type] ?? LK_KV_F32, page_rows: pageRows,
                heads: each.kvHeads, dim: each.dim)
            lk_kv_store(&target, 0, rows, each.columns, each.dim, count)
            return lk_kv_page(data: data, scales: scales, type: target.type)
        }
    }

    private func attend(
        _ each: Case, _ queries: [Float], _ pages: Pages, logSumExp: UnsafeMutablePointer<Float>?
    ) -> [Float] {
        let shape = each.each, rows = shape.queries, width = shape.width
        var result = [Float](repeating: 0, count: rows * width)
        let status = result.withUnsafeMutableBufferPointer { out in
            queries.withUnsafeBufferPointer { q in
                pages.keys.withUnsafeBufferPointer { keys in
                    pages.values.withUnsafeBufferPointer { values in
                        var output = lk_attention_output(
                            data: out.baseAddress, row_stride: width, head_stride: shape.dim, log_sum_exp: logSumExp)
                        var input = lk_queries(
                            data: q.baseAddress, rows: rows, heads: shape.heads, dim: shape.dim, row_stride: width,
                            head_stride: shape.dim)
                        var keysValues = lk_keys_values(
                            keys: keys.baseAddress, values: values.baseAddress, rows: shape.rows, heads: shape.kvHeads,
                            page_rows: Self.pageRows, row_stride: shape.dim, head_stride: Self.pageRows * shape.dim)
                        var options = lk_attention_options(
                            scale: 1 / Float(shape.dim).squareRoot(), causal: each.causal ? 1 : 0,
                            fast: each.precision == .fast ? 1 : 0)
                        return lk_attention(&output, &input, &keysValues, &options)
                    }
                }
            }
        }
        #expect(status == LK_OK)
        return result
    }

    private static func rounded(_ value: Float) -> Float {
        Float(bitPattern: UInt32(StoredReference.bfloat16(value)) << 16)
    }

    /// [queries, heads]. Where `rounds`, the factors are rounded as attention in BF16 rounds them.
    private func reference(_ each: Case, _ queries: [Float], keys: [Float], rounds: Bool) -> [Double] {
        let shape = each.each, log2e: Float = 1.44269504
        let scale: Float = 1 / Float(shape.dim).squareRoot()
        let q = rounds ? queries.map { Double(Self.rounded($0 * (scale * log2e))) } : queries.map { Double($0) }
        let k = rounds ? keys.map { Double(Self.rounded($0)) } : keys.map { Double($0) }
        let factor = rounds ? log(2.0) : 1 / Double(shape.dim).squareRoot()
        return (0..<shape.queries * shape.heads).map { index in
            let (query, head) = (index / shape.heads, index % shape.heads)
            let seen = each.causal ? shape.rows - shape.queries + query + 1 : shape.rows
            let (at, from) = (index * shape.dim, head / shape.group * shape.dim)
            let scores = (0..<seen).map { row in
                (0..<shape.dim).reduce(0.0) { $0 + q[at + $1] * k[row * shape.columns + from + $1] } * factor
            }
            let top = scores.max() ?? 0
            return top + log(scores.reduce(0) { $0 + exp($1 - top) })
        }
    }

    @Test(arguments: cases) func logSumExpEqualsTheDefinition(_ each: Case) {
        let shape = each.each
        var sequence = Sequence(shape.rows * 17 + shape.dim)
        let queries = sequence.floats(shape.queries * shape.width).map { $0 * 4 }
        let keys = sequence.floats(shape.rows * shape.columns), values = sequence.floats(shape.rows * shape.columns)
        let pages = Pages(shape, each.type, keys: keys, values: values)
        let stored = (shape.rows - 1) / Self.pageRows * Self.pageRows * shape.columns
        let kept = StoredReference.values(Array(keys[..<stored]), as: each.type, dim: shape.dim) + keys[stored...]
        onEachISA { isa in
            let rounds = each.precision == .fast && shape.queries > Int(LK_FEW_ROWS) && isa == "avx512bf16"
            var got = [Float](repeating: .nan, count: shape.queries * shape.heads)
            let with = attend(each, queries, pages, logSumExp: &got)
            // Scores are sums of up to 24 products; logarithms of sums of up to 300 exponentials are about 6.
            #expect(difference(got, reference(each, queries, keys: kept, rounds: rounds)) < 1e-6, "\(isa)")
            #expect(with == attend(each, queries, pages, logSumExp: nil), "\(isa)")
        }
    }

    /// A cache gives the same beside causal attention: odd shapes, a few pages, heads in groups, older pages quantized.
    @Test(arguments: [
        Case(each: AttentionCase(queries: 1, rows: 1, kvHeads: 1, group: 1, dim: 5), type: .float32),
        Case(each: AttentionCase(queries: 3, rows: 259, kvHeads: 3, group: 5, dim: 7), type: .float32),
        Case(each: AttentionCase(queries: 33, rows: 530, group: 3, dim: 12), type: .float32),
        Case(each: AttentionCase(queries: 70, rows: 797, group: 2, dim: 20), type: .bfloat16),
        Case(each: AttentionCase(queries: 2, rows: 1030, group: 7, dim: 16), type: .int8),
    ])
    func aCacheGivesTheLogSumExpOfCausalAttention(_ each: Case) throws {
        let shape = each.each
        var sequence = Sequence(shape.rows * 3 + shape.dim)
        let queries = sequence.floats(shape.queries * shape.width).map { $0 * 4 }
        let keys = sequence.floats(shape.rows * shape.columns), values = sequence.floats(shape.rows * shape.columns)
        let cache = KeyValueCache(kvHeads: shape.kvHeads, headDim: shape.dim, type: each.type)
        try cache.append(
            keys: Tensor([shape.rows, shape.columns], keys), values: Tensor([shape.rows, shape.columns], values))
        try cache.quantizeOlderPages()
        #expect((cache.quantizedPages > 0) == (each.type != .float32))
        let stored = cache.quantizedPages * KeyValueCache.pageRows * shape.columns
        let kept = StoredReference.values(Array(keys[..<stored]), as: each.type, dim: shape.dim) + keys[stored...]
        let q = try Tensor([shape.queries, shape.width], queries)
        let got = try cache.attentionWithLogSumExp(q, heads: shape.heads)
        #expect(got.logSumExp.shape == [shape.queries, shape.heads])
        #expect(difference(got.logSumExp.values, reference(each, queries, keys: kept, rounds: false)) < 1e-6)
        #expect(try got.output.values == cache.attention(q, heads: shape.heads).values)
        let wide = try Tensor([shape.queries, 2 * shape.width], queries + queries).columns(0..<shape.width)
        #expect(try cache.attentionWithLogSumExp(wide, heads: shape.heads).logSumExp.shape == got.logSumExp.shape)
        for heads in [0, -1, shape.heads + 1] {
            #expect(throws: LyraError.self) { try cache.attentionWithLogSumExp(q, heads: heads) }
        }
    }

    @Test(arguments: [3, 40], notNumbers) func aNaNQueryHasNoLogSumExp(_ rows: Int, _ bad: Float) {
        let shape = AttentionCase(queries: rows, rows: rows, kvHeads: 1, group: 1, dim: 8)
        var sequence = Sequence(3)
        var queries = sequence.floats(rows * 8)
        let keys = sequence.floats(rows * 8)
        queries[8] = bad
        let pages = Pages(shape, .float32, keys: keys, values: keys)
        for precision in [Precision.exact, .fast] {
            let each = Case(each: shape, type: .float32, causal: true, precision: precision)
            onEachISA { isa in
                var got = [Float](repeating: 0, count: rows)
                _ = attend(each, queries, pages, logSumExp: &got)
                #expect(got.indices.allSatisfy { got[$0].isNaN == ($0 == 1) }, "\(isa)")
            }
        }
    }
}
