import Foundation
import LyraBase
import Testing

@testable import LyraTensor

/// Operations read views like copies, leave shared values unchanged, and compute their definitions.
@Suite struct OpsTests {
    private func numbers(_ rows: Int, _ columns: Int, _ seed: Int = 1) throws -> Tensor {
        var sequence = Sequence(seed)
        return try Tensor([rows, columns], sequence.floats(rows * columns))
    }

    private func weight(_ outputs: Int, _ inputs: Int, as type: ElementType = .float32) throws -> Weight {
        try storedWeight(outputs, inputs, as: type, numbers(outputs, inputs, 7).values)
    }

    /// Every operation on a view of columns gives the bits that it gives on a copy of them.
    @Test func viewsOfColumnsAreReadLikeCopies() throws {
        let wide = try numbers(9, 40)
        let view = wide.columns(4..<36), copy = try Tensor([9, 32], view.values)
        #expect(view.shape == [9, 32] && !view.isContiguous && copy.isContiguous)
        let (w, scale, bias) = (try weight(5, 32), try numbers(1, 32, 2), try numbers(1, 32, 3))
        #expect(try w.product(view).values == w.product(copy).values)
        #expect(
            try view.rmsNormalized(weight: scale, epsilon: 1e-6).values
                == copy.rmsNormalized(weight: scale, epsilon: 1e-6).values)
        #expect(
            try view.layerNormalized(weight: scale, bias: bias, epsilon: 1e-6).values
                == copy.layerNormalized(weight: scale, bias: bias, epsilon: 1e-6).values)
        #expect(
            try Tensor.siluProduct(gate: view.columns(0..<16), up: view.columns(16..<32)).values
                == Tensor.siluProduct(gate: copy.columns(0..<16), up: copy.columns(16..<32)).values)
        #expect(
            try attention(view, keys: view, values: view, heads: 4).values
                == attention(copy, keys: copy, values: copy, heads: 4).values)
        #expect(try view.transposed().values == copy.transposed().values)
        #expect(try view.keepingRows([8, 0, 8]).values == copy.keepingRows([8, 0, 8]).values)
        #expect(try Tensor.stacking([view, copy]).values == copy.values + copy.values)
        #expect(try view.reshaped([32, 9]).values == copy.values)
        #expect(view[33] == copy[33] && view.indicesOfLargest() == copy.indicesOfLargest())
    }

    @Test func splitColumnsAreTheColumnsInOrder() throws {
        let all = try numbers(4, 11)
        let parts = try all.split(columns: [2, 0, 5, 4])
        #expect(parts.map(\.columns) == [2, 0, 5, 4])
        for row in 0..<4 {
            let whole = parts.flatMap { $0.rows(row..<row + 1).values }
            #expect(whole == all.rows(row..<row + 1).values)
        }
        for widths in [[2, 5], [12], [-1, 12]] { #expect(throws: LyraError.self) { try all.split(columns: widths) } }
    }

    /// A shared residual stays unchanged; one that is handed over is overwritten with the sum.
    @Test func aResidualIsWrittenOnlyWhenItIsHandedOver() throws {
        let x = try numbers(3, 8), w = try weight(6, 8)
        let product = try w.product(x).values
        let shared = try numbers(3, 6, 5), before = shared.values
        let sum = try w.product(x, addedTo: shared)
        #expect(shared.values == before)
        for (index, value) in sum.values.enumerated() { #expect(abs(value - before[index] - product[index]) < 1e-5) }

        var own = try numbers(3, 6, 5)
        let place = own.withMatrix { base, _ in UInt(bitPattern: base) }
        let inPlace = try w.product(x, addedTo: own.take())
        #expect(inPlace.values == sum.values && inPlace.withMatrix { base, _ in UInt(bitPattern: base) } == place)
        #expect(own.count == 0)
        #expect(throws: LyraError.self) { try w.product(x, addedTo: numbers(3, 5)) }
    }

    /// x · w with stored weights; products are summed in floats. `fast`, the default of quantized weights, may round
    /// both factors to BF16, each by at most 2⁻⁹.
    @Test(arguments: [ElementType.float32, .bfloat16, .q8_0, .q4_k])
    func theTransposedProductEqualsTheDefinition(_ type: ElementType) throws {
        let (outputs, inputs, rows) = (96, 256, 9)
        let w = try weight(outputs, inputs, as: type), x = try numbers(rows, outputs, 4)
        let stored = try w.dequantized(rows: 0..<outputs).values, values = x.values
        let want = (0..<rows * inputs).map { index -> Double in
            let (row, column) = index.quotientAndRemainder(dividingBy: inputs)
            return (0..<outputs).reduce(0) {
                $0 + Double(values[row * outputs + $1]) * Double(stored[$1 * inputs + column])
            }
        }
        #expect(try difference(w.transposedProduct(x, precision: .exact).values, want) < 2e-6)
        #expect(try difference(w.transposedProduct(x, precision: .fast).values, want) < 4e-3)
        #expect(throws: LyraError.self) { try w.transposedProduct(numbers(1, 95)) }
    }

    /// A low-rank update: x · wᵀ + scale · x · aᵀ · bᵀ, beside another product and added to a residual.
    @Test func aLowRankUpdateIsAdded() throws {
        let x = try numbers(4, 8), (w, a, b) = (try weight(6, 8), try weight(2, 8), try weight(6, 2))
        let updated = Projection(w, update: LowRankUpdate(a: a, b: b, scale: 0.5))
        let (plain, low) = (try w.product(x).values, try b.product(a.product(x).scaled(by: 0.5)).values)
        let both = try [Projection(w), updated].sideBySide(x).split(columns: [6, 6])
        #expect(both[0].values == plain)
        for (index, value) in both[1].values.enumerated() { #expect(abs(value - plain[index] - low[index]) < 1e-5) }
        let residual = try numbers(4, 6, 9)
        for (index, value) in try updated(x, addedTo: residual).values.enumerated() {
            #expect(abs(value - residual[index] - both[1][index]) < 1e-5)
        }
    }

    @Test func theLogOfTheSumOfExponentialsEqualsTheDefinition() throws {
        let (q, k, v) = (try numbers(5, 16, 1), try numbers(7, 16, 2), try numbers(7, 16, 3))
        let got = try attentionWithLogSumExp(q, keys: k, values: v, heads: 2)
        #expect(try got.output.values == attention(q, keys: k, values: v, heads: 2).values)
        let want = (0..<10).map { index -> Double in
            let (row, head) = index.quotientAndRemainder(dividingBy: 2)
            let scores = (0..<7).map { key in
                (0..<8).reduce(0.0) { $0 + Double(q[row * 16 + head * 8 + $1]) * Double(k[key * 16 + head * 8 + $1]) }
                    / 8.0.squareRoot()
            }
            return log(scores.reduce(0) { $0 + exp($1) })
        }
        #expect(got.logSumExp.shape == [5, 2] && difference(got.logSumExp.values, want) < 1e-6)
    }

    /// A shape that does not fit is the caller's mistake, and the message names what does not fit.
    @Test func shapesThatDoNotFitAreTheCallersMistake() throws {
        let x = try numbers(3, 8), w = try weight(6, 8), none = try Tensor(zeros: [3, 0])
        let pictures = try Tensor(zeros: [1, 4, 4])
        let convolution = try Convolution1D(Tensor(zeros: [2, 3, 3]), bias: Tensor(zeros: [2]))
        let cache = KeyValueCache(kvHeads: 2, headDim: 4)
        for (part, fail) in [
            ("rows of 7", { _ = try w.product(numbers(3, 7)) }),
            ("bias [5]", { _ = try w.product(x, bias: Tensor(zeros: [5])) }),
            ("bias [6, 1]", { _ = try w.product(x, bias: numbers(6, 3).columns(0..<1)) }),
            ("[3, 5]", { _ = try w.product(x, addedTo: numbers(3, 5)) }),
            ("transpose", { _ = try w.transposedProduct(x) }),
            ("gate", { _ = try Tensor.siluProduct(gate: x, up: none) }),
            ("keys", { _ = try attention(x, keys: none, values: none, heads: 2) }),
            ("RMS norm", { _ = try x.rmsNormalized(weight: Tensor(zeros: [7]), epsilon: 1e-6) }),
            ("rotation", { _ = try x.rotated(Rotation(angles: numbers(2, 2)), heads: 2) }),
            ("added", { _ = try x.adding(none) }), ("signal", { _ = try convolution(x.rows(0..<2)) }),
            ("squares", { _ = try pictures.unfoldedSquares(kernel: 5, stride: 1) }),
            ("unfolded", { _ = try x.unfoldedRows(kernel: 0, stride: 1) }),
            ("gains", { _ = try x.foldingWeightNorm(gains: none, name: "w") }),
            ("keys", { try cache.append(keys: x, values: none) }),
        ] as [(String, () throws -> Void)] {
            let error = #expect(throws: LyraError.self, "\(part)") { try fail() }
            #expect(error?.code == .argument && error?.message.contains(part) == true, "\(error?.message ?? part)")
        }
        // The numbers of a weight come from a file.
        #expect(throws: LyraError(.format, "w: row 0 is zero or not finite")) {
            try Tensor(zeros: [3, 8]).foldingWeightNorm(gains: Tensor(zeros: [3]), name: "w")
        }
    }

    @Test func sumsRepeatTheRowsOfTheOther() throws {
        let x = try numbers(6, 3), other = try numbers(2, 3, 8)
        let sum = try x.adding(other).values
        for index in 0..<18 { #expect(sum[index] == x[index] + other[index % 6]) }
        #expect(throws: LyraError.self) { try x.adding(numbers(4, 3)) }
    }
}
