import Foundation
import LyraBase
import LyraTensor
import Testing

@testable import LyraTraining

/// The regularizer against the oracle, its definition over all paths, and central differences.
@Suite struct LCMRTests {
    /// The oracle computes in float64 from float64 inputs. Here inputs are rounded to floats, by 6e-8 of each; products
    /// of up to 30 divided by γ = 0.1 make 2e-5 of that at most.
    @Test(arguments: Golden.both) func lossAndGradientsEqualTheOracle(_ golden: Golden) throws {
        let speech = try golden.tensor("lcmr", "in.speech"), text = try golden.tensor("lcmr", "in.text")
        let result = try CrossModalityRegularizer()(speech: speech, text: text)
        #expect(difference(result.loss, try golden.doubles("lcmr", "out.loss")[0]) < 1e-4)
        #expect(difference(result.speechGradient.values, try golden.doubles("lcmr", "out.grad_speech")) < 1e-4)
        let textGradient = try #require(result.textGradient)
        #expect(difference(textGradient.values, try golden.doubles("lcmr", "out.grad_text")) < 1e-4)
        #expect(try CrossModalityRegularizer().loss(speech: speech, text: text) == result.loss)
    }

    /// Rows of speech, of text, and columns: single rows, more text than speech, columns that are no multiple of four.
    static let shapes = [(1, 1, 3), (1, 4, 5), (6, 1, 4), (7, 3, 9), (3, 8, 6), (5, 5, 1)]

    @Test(arguments: shapes) func gradientsEqualCentralDifferences(_ n: Int, _ m: Int, _ hidden: Int) throws {
        let regularizer = try CrossModalityRegularizer(temperature: 0.5, gamma: 0.3)
        let speech = try normal([n, hidden], seed: n), text = try normal([m, hidden], seed: m + 50)
        let result = try regularizer(speech: speech, text: text, gradientScale: 3)
        func loss(_ speech: Tensor, _ text: Tensor) throws -> Double {
            3 * (try regularizer(speech: speech, text: text).loss)
        }
        // Third derivatives are up to some hundreds here, times step² / 6; a zero gradient (one row of text) is exact.
        let bySpeech = try centralDifferences(speech, step: 0x1p-11) { try loss($0, text) }
        let byText = try centralDifferences(text, step: 0x1p-11) { try loss(speech, $0) }
        let textGradient = try #require(result.textGradient)
        if m == 1 {
            #expect(result.speechGradient.values.allSatisfy { $0 == 0 } && textGradient.values.allSatisfy { $0 == 0 })
            #expect(result.loss == 0, "softmax over one row of text is 1")
        } else {
            #expect(difference(result.speechGradient.values, bySpeech) < 1e-4)
            #expect(difference(textGradient.values, byText) < 1e-4)
        }
    }

    /// −γ log Σ over all paths of e^(−cost / γ), path by path.
    private func overAllPaths(_ costs: [[Double]], gamma: Double) -> Double {
        func total(_ row: Int, _ column: Int) -> Double {
            let rest = costs[row][column]
            if row == 0, column == 0 { return exp(-rest / gamma) }
            let before = [(row - 1, column - 1), (row - 1, column), (row, column - 1)].filter { $0 >= 0 && $1 >= 0 }
            return before.reduce(0) { $0 + exp(-rest / gamma) * total($1.0, $1.1) }
        }
        return -gamma * log(total(costs.count - 1, costs[0].count - 1))
    }

    @Test(arguments: [(1, 1), (1, 5), (4, 1), (4, 5), (5, 3)]) func softDTWIsTheSumOverAllPaths(
        _ rows: Int, _ columns: Int
    ) throws {
        var random = SplitMix64(seed: UInt64(rows * 10 + columns))
        let costs = (0..<rows).map { _ in (0..<columns).map { _ in random.nextUnit() } }
        let bordered = try SoftDTW.Bordered(repeating: 0, rows: rows, columns: columns)
        for row in 0..<rows { for column in 0..<columns { bordered[row + 1, column + 1] = costs[row][column] } }
        let (value, alignment) = try SoftDTW(gamma: 0.2)(bordered, rows: rows, columns: columns)
        #expect(difference(value, overAllPaths(costs, gamma: 0.2)) < 1e-12)
        for row in 0..<rows {
            for column in 0..<columns {
                var (above, below) = (costs, costs)
                above[row][column] += 1e-5
                below[row][column] -= 1e-5
                let slope = (overAllPaths(above, gamma: 0.2) - overAllPaths(below, gamma: 0.2)) / 2e-5
                #expect(abs(alignment[row + 1, column + 1] - slope) < 1e-8)
            }
        }
    }

    @Test func aBatchAveragesOverExamplesWithATranscript() throws {
        let regularizer = try CrossModalityRegularizer()
        let speech = try (0..<4).map { try normal([3 + $0, 8], seed: $0, deviation: 0.3) }
        let text = try (0..<4).map { try normal([4, 8], seed: 10 + $0, deviation: 0.3) }
        let examples = [
            (speech[0], text[0]), (speech[1], nil), (speech[2], text[2]), (speech[3], try Tensor(zeros: [0, 8])),
        ]
        let batch = try regularizer.batch(examples, weight: 0.5)
        let alone = try [0, 2].map { try regularizer(speech: speech[$0], text: text[$0], gradientScale: 0.5 / 2) }
        #expect(batch.loss == LossSum(sum: alone[0].loss + alone[1].loss, count: 2))
        #expect(batch.results[1] == nil && batch.results[3] == nil)
        #expect(batch.results[0]?.speechGradient.values == alone[0].speechGradient.values)
        #expect(batch.results[2]?.textGradient?.values == alone[1].textGradient?.values)
    }

    /// Two processes, one of them without a transcript, give what one process gives for all.
    @Test func sumsAndNumbersOfPartsAddUp() throws {
        let regularizer = try CrossModalityRegularizer()
        let examples = try (0..<3).map {
            (speech: try normal([5, 6], seed: $0), text: Optional(try normal([3, 6], seed: 20 + $0, deviation: 0.2)))
        }
        let silent = (speech: try normal([5, 6], seed: 9), text: Tensor?.none)
        let whole = try regularizer.batch(examples + [silent], weight: 0.5)
        let first = try regularizer.batch(examples, weight: 0.5, count: 3)
        let second = try regularizer.batch([silent], weight: 0.5, count: 3)
        #expect(first.loss + second.loss == whole.loss)
        #expect(second.loss == LossSum(sum: 0, count: 0))
        #expect(first.results[1]?.speechGradient.values == whole.results[1]?.speechGradient.values)
    }

    @Test func textGradientIsOnlyComputedWhereWanted() throws {
        let sample = try CrossModalityRegularizer()(
            speech: normal([3, 4], seed: 1), text: normal([2, 4], seed: 2), wantsTextGradient: false)
        #expect(sample.textGradient == nil)
    }

    @Test func viewsWhoseRowsLieApartAreRead() throws {
        let wide = try normal([6, 10], seed: 3), text = try normal([3, 4], seed: 4)
        let view = wide.columns(3..<7)
        let copy = try Tensor([6, 4], view.values)
        let (a, b) = (
            try CrossModalityRegularizer()(speech: view, text: text),
            try CrossModalityRegularizer()(speech: copy, text: text)
        )
        #expect(a.loss == b.loss && a.speechGradient.values == b.speechGradient.values)
    }

    @Test func wrongInputIsRefused() throws {
        #expect(throws: LyraError.self) { try CrossModalityRegularizer(temperature: 0) }
        #expect(throws: LyraError.self) { try CrossModalityRegularizer(gamma: .nan) }
        let regularizer = try CrossModalityRegularizer()
        let rows = try normal([2, 3], seed: 1)
        for other in [try normal([2, 4], seed: 2), try Tensor(zeros: [0, 3]), try Tensor(zeros: [2, 0])] {
            #expect(throws: LyraError.self) { try regularizer(speech: rows, text: other) }
            #expect(throws: LyraError.self) { try regularizer(speech: other, text: rows) }
        }
    }

    @Test func hugeScoresStayFiniteAndNaNShows() throws {
        let speech = try normal([4, 3], seed: 1, deviation: 1e12), text = try normal([3, 3], seed: 2, deviation: 1e12)
        let result = try CrossModalityRegularizer()(speech: speech, text: text)
        #expect(result.loss.isFinite && result.speechGradient.values.allSatisfy { $0.isFinite })
        let bad = try Tensor([1, 3], [1, .nan, 2])
        #expect(try CrossModalityRegularizer()(speech: bad, text: text).loss.isNaN)
    }
}
