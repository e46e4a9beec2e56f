import Foundation
import LyraBase
import LyraTensor
import TestSupport
import Testing

@testable import LyraTraining

/// Cross-entropy against PyTorch, its definition, and central differences.
@Suite(.serialized) struct CrossEntropyTests {
    /// Exponentials are good to 2e-7, and so are the sums of floats.
    @Test func lossAndGradientEqualPyTorch() throws {
        let fixture = try TrainingFixture("losses")
        let (logits, targets) = (try fixture.tensor("ce.in"), try fixture.integers("ce.targets"))
        let loss = try fixture.doubles("ce.loss")[0], gradient = try fixture.doubles("ce.grad")
        try onEachISA { isa in
            let result = try CrossEntropy.of(logits, targets: targets)
            #expect(difference(result.loss.sum, loss) < 1e-6, "\(isa)")
            #expect(result.loss.count == targets.count { $0 != CrossEntropy.ignored }, "\(isa)")
            #expect(difference(result.gradient.values, gradient) < 1e-6, "\(isa)")
        }
    }

    /// Rows and classes: one class, less than a vector, whole vectors and one more, as many as sums are cut at.
    static let shapes = [(1, 1), (3, 2), (2, 7), (5, 8), (4, 17), (2, 1025), (300, 257)]

    @Test(arguments: shapes) func resultEqualsTheDefinition(_ rows: Int, _ classes: Int) throws {
        let logits = try normal([rows, classes], seed: rows * classes, deviation: 5)
        let targets = (0..<rows).map { $0 % 3 == 1 ? CrossEntropy.ignored : Int32($0 * 7 % classes) }
        let values = logits.values.map { Double($0) }
        var (sum, gradient) = (0.0, [Double](repeating: 0, count: values.count))
        for (row, target) in targets.enumerated() where target >= 0 {
            let row = row * classes..<(row + 1) * classes
            let total = values[row].reduce(0) { $0 + exp($1) }
            sum += log(total) - values[row.lowerBound + Int(target)]
            for index in row { gradient[index] = 0.25 * exp(values[index]) / total }
            gradient[row.lowerBound + Int(target)] -= 0.25
        }
        try onEachISA { isa in
            let result = try CrossEntropy.of(logits, targets: targets, gradientScale: 0.25)
            #expect(abs(result.loss.sum - sum) < 1e-6 * (1 + sum), "\(isa)")
            #expect(result.loss.count == targets.count { $0 >= 0 }, "\(isa)")
            // 1e-6 of the scale: exponentials are good to 2e-7, and the sum and the quotient are rounded.
            #expect(zip(result.gradient.values, gradient).allSatisfy { abs(Double($0) - $1) < 2.5e-7 }, "\(isa)")
        }
    }

    @Test(arguments: [(1, 1), (3, 2), (2, 19)]) func gradientEqualsCentralDifferences(
        _ rows: Int, _ classes: Int
    ) throws {
        let logits = try normal([rows, classes], seed: 3)
        let targets = (0..<rows).map { $0 == 1 ? CrossEntropy.ignored : Int32(classes - 1) }
        let got = try CrossEntropy.of(logits, targets: targets, gradientScale: 2).gradient.values
        let want = try centralDifferences(logits, step: 0x1p-5) {
            2 * (try CrossEntropy.of($0, targets: targets).loss.sum)
        }
        // step² / 6 of a third derivative below 0.2; exponentials in floats, 1e-6 of the loss, divided by the step.
        for (got, want) in zip(got, want) { #expect(abs(Double(got) - want) < 2e-4) }
    }

    @Test func sumsOfPartsAddUp() throws {
        let logits = try normal([10, 33], seed: 5)
        let targets: [Int32] = [3, 2, -100, 0, 32, 7, -100, -100, 9, 1]
        let whole = try CrossEntropy.of(logits, targets: targets)
        let parts = try [0..<4, 4..<10].map { try CrossEntropy.of(logits.rows($0), targets: targets[$0]) }
        #expect(difference((parts[0].loss + parts[1].loss).sum, whole.loss.sum) < 1e-14)
        #expect((parts[0].loss + parts[1].loss).count == 7)
        #expect(parts[0].gradient.values + parts[1].gradient.values == whole.gradient.values)
    }

    @Test func logitsThatAreHandedOverKeepTheirMemory() throws {
        var logits = try normal([64, 1024], seed: 6)
        let before = try logits.withValues { UInt(bitPattern: $0) }
        let gradient = try CrossEntropy.of(logits.take(), targets: Array(repeating: 5, count: 64)).gradient
        #expect(try gradient.withValues { UInt(bitPattern: $0) } == before)
        let kept = try normal([2, 3], seed: 1), values = kept.values
        _ = try CrossEntropy.of(kept, targets: [0, 1])
        #expect(kept.values == values, "logits that the caller still holds stay")
    }

    @Test func rowsThatAreNotCountedAddNothing() throws {
        let result = try CrossEntropy.of(normal([3, 9], seed: 1), targets: [-100, -100, -100])
        #expect(result.loss == LossSum(sum: 0, count: 0) && result.loss.mean == nil)
        #expect(result.gradient.values.allSatisfy { $0 == 0 })
        let none = try CrossEntropy.of(Tensor(zeros: [0, 9]), targets: [])
        #expect(none.loss.count == 0 && none.gradient.count == 0)
    }

    @Test func extremeScoresStayRight() throws {
        try onEachISA { isa in
            let logits = try Tensor([3, 3], [1e30, -1e30, 0, -500, -500, -500, 0, -.infinity, 0])
            let result = try CrossEntropy.of(logits, targets: [0, 1, 2])
            #expect(abs(result.loss.sum - log(3) - log(2)) < 1e-6, "\(isa)")
            #expect(result.gradient.values[0..<3] == [0, 0, 0], "\(isa)")
        }
    }

    @Test(arguments: [Float.nan, .infinity]) func damagedScoresShow(_ bad: Float) throws {
        try onEachISA { isa in
            for place in [0, 8, 16, 20] {
                var values = [Float](repeating: 0, count: 42)
                values[place] = bad
                let result = try CrossEntropy.of(Tensor([2, 21], values), targets: [3, 3])
                #expect(result.loss.sum.isNaN, "\(isa), \(place)")
                #expect(result.gradient.values[0..<21].allSatisfy { $0.isNaN }, "\(isa), \(place)")
                #expect(result.gradient.values[21...].allSatisfy { $0.isFinite }, "\(isa), \(place)")
            }
        }
    }

    @Test func wrongTargetsAreRefused() throws {
        for targets: [Int32] in [[0, 9, 0], [0, -1, 0], [0, 0], [0, 0, 0, 0], [0, 0, .max]] {
            #expect(throws: LyraError.self) { try CrossEntropy.of(normal([3, 9], seed: 1), targets: targets) }
        }
        #expect(throws: LyraError.self) { try CrossEntropy.of(Tensor(zeros: [3, 0]), targets: [0, 0, 0]) }
    }

    @Test func framesAreAveraged() throws {
        let logits = try normal([6, 5], seed: 8)
        let labels: [Int32] = [1, 1, -100, 4, 0, -100]
        let framewise = try FramewiseCrossEntropy.of(logits, labels: labels, gradientScale: 3)
        let sum = try CrossEntropy.of(logits, targets: labels, gradientScale: 3.0 / 4)
        #expect(framewise.loss == sum.loss.sum / 4)
        #expect(framewise.gradient.values == sum.gradient.values)
        let none = try FramewiseCrossEntropy.of(logits, labels: Array(repeating: -100, count: 6))
        #expect(none.loss == nil && none.gradient.values.allSatisfy { $0 == 0 })
    }
}
