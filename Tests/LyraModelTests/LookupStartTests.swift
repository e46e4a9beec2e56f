import Glibc
import Testing

@testable import LyraModel
@testable import LyraTools

/// The language model's attention before training, computed here in plain loops: 40 random rows that come twice.
@Suite struct LookupStartTests {
    private static let (different, theta): (Int, Float) = (40, 10_000)

    /// A model with heads in groups of two.
    struct Sizes: Sendable {
        let width, heads: Int

        var headDim: Int { width / heads }
        var stream: Float { InitialValues.embeddingDeviation(width) }

        func tensor(_ layer: Int, _ name: String, _ shape: [Int]) throws -> [Float] {
            var language = DecoderConfiguration(
                hiddenSize: width, layers: 5, heads: heads, kvHeads: heads / 2, intermediateSize: 512,
                vocabularySize: 300, mropeSections: [headDim / 2, 0, 0], tiesEmbeddings: true)
            language.ropeTheta = Double(theta)
            return try InitialValues(part: .main(language, nil), seed: 4)(
                "model.layers.\(layer).self_attn.\(name)", shape
            ).values
        }
    }

    /// The rows of a matrix [outputs, inputs] times x, and a bias.
    private func product(_ matrix: [Float], _ x: [Float], bias: [Float]? = nil) -> [Float] {
        let outputs = matrix.count / x.count
        return (0..<outputs).map { row in
            x.indices.reduce(bias?[row] ?? 0) { $0 + matrix[row * x.count + $1] * x[$1] }
        }
    }

    private func normed(_ x: [Float]) -> [Float] {
        let size = (x.reduce(0) { $0 + $1 * $1 } / Float(x.count)).squareRoot()
        return x.map { $0 / size }
    }

    /// Turns each pair (c, c + headDim / 2) of a head's columns by position · θ^(−2c / headDim), as RoPE does.
    private func turned(_ x: [Float], position: Int, _ sizes: Sizes) -> [Float] {
        var y = x
        let half = sizes.headDim / 2
        for head in 0..<x.count / sizes.headDim {
            for pair in 0..<half {
                let angle = Float(position) * powf(Self.theta, -Float(pair) / Float(half))
                let (a, b) = (x[head * sizes.headDim + pair], x[head * sizes.headDim + half + pair])
                y[head * sizes.headDim + pair] = a * cosf(angle) - b * sinf(angle)
                y[head * sizes.headDim + half + pair] = b * cosf(angle) + a * sinf(angle)
            }
        }
        return y
    }

    /// weights[head][row][key], and what the layer adds to each row.
    private func attend(
        _ layer: Int, _ rows: [[Float]], _ sizes: Sizes
    ) throws -> (weights: [[[Float]]], added: [[Float]]) {
        let inputs = rows.map(normed), kvWidth = sizes.width / 2
        func projected(_ name: String, _ outputs: Int) throws -> [[Float]] {
            let matrix = try sizes.tensor(layer, name + ".weight", [outputs, sizes.width])
            let bias = try sizes.tensor(layer, name + ".bias", [outputs])
            return inputs.map { product(matrix, $0, bias: bias) }
        }
        let queries = try projected("q_proj", sizes.width).enumerated().map {
            turned($0.element, position: $0.offset, sizes)
        }
        let keys = try projected("k_proj", kvWidth).enumerated().map { turned($0.element, position: $0.offset, sizes) }
        let seen = try projected("v_proj", kvWidth)
        let output = try sizes.tensor(layer, "o_proj.weight", [sizes.width, sizes.width])
        var weights = [[[Float]]](repeating: [], count: sizes.heads), found = rows.map { _ in [Float]() }
        for head in 0..<sizes.heads {
            let (own, shared) = (head * sizes.headDim, head / 2 * sizes.headDim)
            for row in rows.indices {
                let scores = (0...row).map { key in
                    (0..<sizes.headDim).reduce(Float(0)) { $0 + queries[row][own + $1] * keys[key][shared + $1] }
                        / Float(sizes.headDim).squareRoot()
                }
                let powers = scores.map { expf($0 - (scores.max() ?? 0)) }, sum = powers.reduce(0, +)
                let shares = powers.map { $0 / sum }
                weights[head].append(shares)
                found[row] += (0..<sizes.headDim).map { column in
                    (0...row).reduce(Float(0)) { $0 + shares[$1] * seen[$1][shared + column] }
                }
            }
        }
        return (weights, found.map { product(output, $0) })
    }

    /// The mean weight that the second half's rows give to the row `back` rows before.
    private func weight(_ weights: [[Float]], back: Int) -> Float {
        let rows = Self.different + 1..<2 * Self.different
        return rows.reduce(Float(0)) { $0 + weights[$1][$1 - back] } / Float(rows.count)
    }

    @Test(arguments: [Sizes(width: 192, heads: 4), Sizes(width: 144, heads: 6)])
    func rowsAfterAnEarlierOccurrenceAreFound(_ sizes: Sizes) throws {
        var numbers = UniformGenerator(seed: 9, name: "rows")
        let once = (0..<Self.different).map { _ in
            (0..<sizes.width).map { _ in numbers.next() * InitialValues.bound(sizes.stream) }
        }
        let rows = once + once
        let first = try attend(0, rows, sizes)
        for head in 0..<sizes.heads { #expect(weight(first.weights[head], back: head + 1) > 0.6, "head \(head)") }
        let next = zip(rows, first.added).map { zip($0, $1).map { $0 + $1 } }
        let second = try attend(1, next, sizes)
        // Without the lookup each of some 60 rows would have about 0.02.
        #expect(weight(second.weights[0], back: Self.different - 1) > 0.3)
        #expect(weight(second.weights[1], back: 1) > 0.25)
        let alike = weight(second.weights[2], back: 0) + weight(second.weights[2], back: Self.different)
        #expect(alike > 0.5)
    }

    /// What a lookup finds is added so that the found token's score rises.
    @Test func whatIsFoundIsCopied() throws {
        let sizes = Sizes(width: 192, heads: 4)
        let seen = try sizes.tensor(1, "v_proj.weight", [96, sizes.width])
        let output = try sizes.tensor(1, "o_proj.weight", [sizes.width, sizes.width])
        var numbers = UniformGenerator(seed: 2, name: "row")
        let row = normed((0..<sizes.width).map { _ in numbers.next() })
        let found = Array(product(seen, row)[..<sizes.headDim])
        let added = product(output, found + [Float](repeating: 0, count: sizes.width - sizes.headDim))
        let score = zip(added, row).reduce(Float(0)) { $0 + $1.0 * $1.1 }
        let squares = found.reduce(Float(0)) { $0 + $1 * $1 }
        // Wᵀ W is symmetric: x · Wᵀ W x = (W x)².
        #expect(abs(score / (2 * sizes.stream * squares) - 1) < 1e-4)
    }

    /// Heads of 8 columns have no room; they start as other matrices do.
    @Test func narrowHeadsStartAtRandom() throws {
        let narrow = DecoderConfiguration(
            hiddenSize: 16, layers: 2, heads: 2, kvHeads: 2, intermediateSize: 32, vocabularySize: 30,
            mropeSections: [1, 1, 2], tiesEmbeddings: true)
        #expect(LookupStart(narrow, layer: 0, stream: 1) == nil)
        let bias = try InitialValues(part: .main(narrow, nil), seed: 1)("model.layers.0.self_attn.q_proj.bias", [16])
        #expect(bias.values.allSatisfy { $0 == 0 })
    }
}
