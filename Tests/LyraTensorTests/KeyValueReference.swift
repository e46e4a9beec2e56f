import CKernels
import Foundation
import LyraTensor

/// How a cache stores numbers, by the definition of its types.
enum StoredReference {
    /// The nearest BF16 number; in a tie, the one whose last bit is 0.
    static func bfloat16(_ value: Float) -> UInt16 {
        let below = UInt16(value.bitPattern >> 16)
        guard value.isFinite, value.bitPattern & 0xFFFF != 0 else { return below }
        func distance(_ half: UInt16) -> Double {
            // Infinity counts as the number that would follow the largest finite one.
            let neighbour = Float(bitPattern: UInt32(half) << 16)
            return abs(Double(value) - (neighbour.isFinite ? Double(neighbour) : neighbour < 0 ? -0x1p128 : 0x1p128))
        }
        let above = below + 1
        if distance(below) == distance(above) { return below % 2 == 0 ? below : above }
        return distance(below) < distance(above) ? below : above
    }

    /// The codes of one head, and their scale.
    static func codes(_ head: ArraySlice<Float>) -> (codes: [Int8], scale: Float) {
        let largest = head.reduce(0) { max($0, abs($1)) }
        let scale = largest / 127
        guard head.allSatisfy(\.isFinite) else { return ([Int8](repeating: 0, count: head.count), .nan) }
        guard scale > 0 else { return ([Int8](repeating: 0, count: head.count), 0) }
        return (head.map { Int8(max(-127, min(127, ($0 / scale).rounded(.toNearestOrEven)))) }, scale)
    }

    /// Rows of heads of `dim` numbers, stored and read again.
    static func values(_ rows: [Float], as type: KeyValueType, dim: Int) -> [Float] {
        switch type {
        case .float32: rows
        case .float16: rows.map { Float(Float16($0)) }
        case .bfloat16: rows.map { Float(bitPattern: UInt32(bfloat16($0)) << 16) }
        case .int8:
            stride(from: 0, to: rows.count, by: dim).flatMap { start -> [Float] in
                let head = codes(rows[start..<start + dim])
                return head.codes.map { Float($0) * head.scale }
            }
        }
    }
}

/// Queries, keys and values of a few heads, and attention over them in double precision.
struct AttentionCase: Sendable {
    var queries: Int
    var rows: Int
    var kvHeads = 2
    var group: Int
    var dim: Int

    var heads: Int { kvHeads * group }
    var width: Int { heads * dim }
    var columns: Int { kvHeads * dim }

    /// Softmax weights of one query of one head over the first `seen` rows of `keys`.
    func weights(_ q: [Float], query: Int, head: Int, keys: [Float], seen: Int) -> [Double] {
        let (from, to) = (query * width + head * dim, head / group * dim)
        var scores = [Double](repeating: 0, count: seen)
        for row in 0..<seen {
            for d in 0..<dim { scores[row] += Double(q[from + d]) * Double(keys[row * columns + to + d]) }
            scores[row] /= Double(dim).squareRoot()
        }
        let top = scores.max() ?? 0
        var sum = 0.0
        for row in 0..<seen {
            scores[row] = exp(scores[row] - top)
            sum += scores[row]
        }
        return scores.map { $0 / sum }
    }

    /// Causal attention of the newest rows. → [queries, heads · dim]
    func attended(_ q: [Float], keys: [Float], values: [Float]) -> [Double] {
        var result = [Double](repeating: 0, count: queries * width)
        for query in 0..<queries {
            for head in 0..<heads {
                let seen = rows - queries + query + 1
                let (at, from) = (query * width + head * dim, head / group * dim)
                for (row, weight) in weights(q, query: query, head: head, keys: keys, seen: seen).enumerated() {
                    for d in 0..<dim { result[at + d] += weight * Double(values[row * columns + from + d]) }
                }
            }
        }
        return result
    }

    /// The mean attention weight of each row, without a mask.
    func meanAttentionWeights(_ q: [Float], keys: [Float]) -> [Double] {
        var result = [Double](repeating: 0, count: rows)
        for query in 0..<queries {
            for head in 0..<heads {
                let weights = weights(q, query: query, head: head, keys: keys, seen: rows)
                for row in 0..<rows { result[row] += weights[row] / Double(queries * heads) }
            }
        }
        return result
    }
}

/// One row of one head, as the kernels store it.
func storeRow(_ row: [Float], as type: lk_kv_type, in page: inout [UInt16]) {
    page.withUnsafeMutableBytes { page in
        var layout = lk_kv_mutable_page(
            data: page.baseAddress, scales: nil, type: type, page_rows: 1, heads: 1, dim: row.count)
        lk_kv_store(&layout, 0, row, row.count, row.count, 1)
    }
}

extension KeyValueCache {
    /// Appends rows with a stride of `stride` floats: a view of columns.
    func append(keys: [Float], values: [Float], stride: Int, count: Int) throws {
        func rows(_ all: [Float]) throws -> Tensor {
            try strided(all, stride: stride, rows: count).columns(0..<kvHeads * headDim)
        }
        try append(keys: rows(keys), values: rows(values))
    }

    /// Attention of queries with a stride of `stride` floats.
    func attend(
        queries: [Float], stride: Int, rows: Int, heads: Int, precision: Precision = .exact
    ) throws -> Tensor {
        let all = try strided(queries, stride: stride, rows: rows)
        return try attention(all.columns(0..<min(max(0, heads * headDim), stride)), heads: heads, precision: precision)
    }
}

/// Rows of `stride` floats; the last one is padded with zeros.
private func strided(_ values: [Float], stride: Int, rows: Int) throws -> Tensor {
    let all = values.prefix(rows * stride)
    return try Tensor([rows, stride], all + [Float](repeating: 0, count: rows * stride - all.count))
}
