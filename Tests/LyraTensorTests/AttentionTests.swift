import CKernels
import Foundation
import LyraTensor
import TestSupport
import Testing

/// Tiled attention against softmax(q · kᵀ) · v written out in double precision.
@Suite(.serialized) struct AttentionTests {
    struct Shape: CustomTestStringConvertible, Sendable {
        var rows: Int
        var past = 0
        var heads = 2
        var kvHeads = 2
        var dim = 16
        var gain: Float = 1
        var testDescription: String { "\(rows) after \(past), \(heads)/\(kvHeads) heads of \(dim), gain \(gain)" }
    }

    static let shapes: [Shape] = [
        Shape(rows: 1), Shape(rows: 2, dim: 2), Shape(rows: 7, heads: 3, kvHeads: 1, dim: 6),
        Shape(rows: 97, heads: 6, kvHeads: 2, dim: 10), Shape(rows: 1, past: 700, heads: 12, kvHeads: 2, dim: 8),
        Shape(rows: 25, past: 511, heads: 4, kvHeads: 4, dim: 32), Shape(rows: 300, past: 30, heads: 4, kvHeads: 2),
        Shape(rows: 40, past: 300, gain: 100), Shape(rows: 40, past: 300, gain: 10_000),
        Shape(rows: 3, past: 256, heads: 100, kvHeads: 1, dim: 4),
        Shape(rows: 2, past: 5, heads: 700, kvHeads: 1, dim: 2),
        Shape(rows: 1, past: 300, heads: 14, dim: 40), Shape(rows: 24, past: 9, dim: 19),
        Shape(rows: 3, past: 1000, heads: 8, kvHeads: 1, dim: 127),
    ]

    /// Attention of one query over its unmasked keys.
    private func attend(_ q: ArraySlice<Float>, _ k: [Float], _ v: [Float], at offset: Int, columns: Int, seen: Int)
        -> [Double]
    {
        let dim = q.count, query = Array(q)
        let scores = (0..<seen).map { row in
            (0..<dim).reduce(0.0) { $0 + Double(query[$1]) * Double(k[row * columns + offset + $1]) }
                / Double(dim).squareRoot()
        }
        let top = scores.max() ?? 0
        let weights = scores.map { exp($0 - top) }
        let sum = weights.reduce(0, +)
        return (0..<dim).map { d in
            (0..<seen).reduce(0.0) { $0 + weights[$1] / sum * Double(v[$1 * columns + offset + d]) }
        }
    }

    @Test(arguments: shapes) func cachedAttentionEqualsTheDefinition(_ shape: Shape) throws {
        let columns = shape.kvHeads * shape.dim, total = shape.past + shape.rows, width = shape.heads * shape.dim
        var sequence = Sequence(total * 13 + width)
        let q = sequence.floats(shape.rows * width).map { $0 * shape.gain }
        let (k, v) = (sequence.floats(total * columns), sequence.floats(total * columns))
        var want: [Double] = []
        for row in 0..<shape.rows {
            for head in 0..<shape.heads {
                let offset = head / (shape.heads / shape.kvHeads) * shape.dim
                let query = q[row * width + head * shape.dim..<row * width + (head + 1) * shape.dim]
                want += attend(query, k, v, at: offset, columns: columns, seen: shape.past + row + 1)
            }
        }
        let cache = KeyValueCache(kvHeads: shape.kvHeads, headDim: shape.dim)
        // All rows are appended, then truncated to `past`, then the rest is appended again.
        try cache.append(keys: k, values: v, stride: columns, count: total)
        cache.truncate(to: shape.past)
        let (restK, restV) = (Array(k[(shape.past * columns)...]), Array(v[(shape.past * columns)...]))
        try cache.append(keys: restK, values: restV, stride: columns, count: shape.rows)
        #expect(cache.rows == total)
        try onEachISA { isa in
            let got = try cache.attend(queries: q, stride: width, rows: shape.rows, heads: shape.heads)
            // e^x is exact to 2e-7. With a gain of 100 or more one weight dominates; its score has float's error times
            // the gain.
            #expect(difference(got.values, want) < 3e-6 * Double(max(shape.gain, 1)), "\(isa)")
        }
    }

    @Test(arguments: [1, 5, 64, 300]) func attentionOverAllRowsEqualsTheDefinition(_ rows: Int) throws {
        let heads = 3, dim = 8, width = heads * dim
        var sequence = Sequence(rows)
        let qkv = try Tensor([rows, 3 * width], sequence.floats(rows * 3 * width))
        let all = qkv.values
        func part(_ index: Int) -> [Float] {
            (0..<rows).flatMap { row -> ArraySlice<Float> in
                let start = row * 3 * width + index * width
                return all[start..<start + width]
            }
        }
        let (q, k, v) = (part(0), part(1), part(2))
        let want = (0..<rows * heads).flatMap { index -> [Double] in
            let (row, head) = (index / heads, index % heads)
            let query = q[row * width + head * dim..<row * width + (head + 1) * dim]
            return attend(query, k, v, at: head * dim, columns: width, seen: rows)
        }
        try onEachISA { isa in
            let parts = try qkv.split(columns: [width, width, width])
            let got = try attention(parts[0], keys: parts[1], values: parts[2], heads: heads)
            #expect(difference(got.values, want) < 2e-6, "\(isa)")
            let keysValues = try Tensor(
                [rows, 2 * width],
                (0..<rows).flatMap { row -> [Float] in
                    let columns = row * width..<(row + 1) * width
                    return Array(k[columns]) + Array(v[columns])
                })
            let some = rows / 2..<rows  // fewer queries than keys
            let over = try attention(
                Tensor([rows, width], q).rows(some), keys: keysValues.columns(0..<width),
                values: keysValues.columns(width..<2 * width), heads: heads)
            #expect(difference(over.values, Array(want[some.lowerBound * width..<rows * width])) < 2e-6, "\(isa)")
        }
    }

    @Test(arguments: [3, 40, 256, 300], notNumbers)
    func aNaNQueryAffectsOnlyItsRow(_ count: Int, _ bad: Float) throws {
        let cache = KeyValueCache(kvHeads: 1, headDim: 8)
        var sequence = Sequence(5)
        let (k, v, q) = (sequence.floats(8 * count), sequence.floats(8 * count), sequence.floats(8 * 3))
        try cache.append(keys: k, values: v, stride: 8, count: count)
        var damaged = q
        damaged[8] = bad
        try onEachISA { isa in
            let want = try cache.attend(queries: q, stride: 8, rows: 3, heads: 1).values
            let got = try cache.attend(queries: damaged, stride: 8, rows: 3, heads: 1).values
            #expect(got[8..<16].allSatisfy { $0.isNaN }, "\(isa)")
            #expect(got[..<8] == want[..<8] && got[16...] == want[16...], "\(isa)")
        }
    }
}
