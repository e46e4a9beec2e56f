import Foundation
import LyraBase
import LyraTensor
import Testing

@testable import LyraTraining

extension CTCLoss.Outcome {
    fileprivate var parts: (loss: Double, gradient: Tensor)? {
        if case .loss(let loss, let gradient) = self { (loss, gradient) } else { nil }
    }
}

/// CTC against the oracle, PyTorch, all paths one by one, and central differences.
@Suite struct CTCTests {
    /// The oracle and PyTorch compute in float64 from inputs that are rounded to floats here, by 6e-8 of each.
    @Test(arguments: Golden.both) func lossAndGradientEqualTheOracle(_ golden: Golden) throws {
        let outcome = try CTCLoss()(golden.tensor("ctc", "in.logits"), targets: golden.integers("ctc", "in.targets"))
        let (loss, gradient) = try #require(outcome.parts)
        #expect(difference(loss, try golden.doubles("ctc", "out.loss")[0]) < 1e-6)
        #expect(difference(gradient.values, try golden.doubles("ctc", "out.grad")) < 1e-6)
    }

    @Test(arguments: ["ctc_repeats", "ctc_tight", "ctc_empty", "ctc_one", "ctc_long"])
    func lossAndGradientEqualPyTorch(_ name: String) throws {
        let fixture = try TrainingFixture("losses")
        let outcome = try CTCLoss(collapsesTargets: false)(
            fixture.tensor(name + ".in"), targets: fixture.integers(name + ".targets"))
        let (loss, gradient) = try #require(outcome.parts)
        #expect(difference(loss, try fixture.doubles(name + ".loss")[0]) < 1e-6)
        #expect(difference(gradient.values, try fixture.doubles(name + ".grad")) < 1e-6)
    }

    /// −log of the sum over all sequences of classes that spell the targets, without repetitions and blanks.
    private func overAllPaths(_ logits: Tensor, _ targets: [Int32]) -> Double {
        let (frames, classes, values) = (logits.rows, logits.columns, logits.values.map { Double($0) })
        var total = 0.0
        func extend(_ path: [Int32], _ probability: Double) {
            guard path.count < frames else {
                if CTCLoss.collapsed(path).filter({ Int($0) != classes - 1 }) == targets { total += probability }
                return
            }
            let row = values[path.count * classes..<(path.count + 1) * classes]
            let sum = row.reduce(0) { $0 + exp($1) }
            for (label, score) in row.enumerated() { extend(path + [Int32(label)], probability * exp(score) / sum) }
        }
        extend([], 1)
        return -log(total)
    }

    /// Frames, classes, targets.
    static let shapes: [(Int, Int, [Int32])] = [
        (1, 2, [0]), (1, 3, []), (4, 3, []), (4, 3, [1]), (5, 3, [1, 1]), (5, 4, [0, 1, 2, 0]), (6, 3, [0, 1, 0]),
        (3, 1, []),
    ]

    @Test(arguments: shapes) func lossIsTheSumOverAllPaths(_ frames: Int, _ classes: Int, _ targets: [Int32]) throws {
        let logits = try normal([frames, classes], seed: frames + classes)
        let outcome = try CTCLoss(collapsesTargets: false)(logits, targets: targets)
        let want = overAllPaths(logits, targets) / Double(max(targets.count, 1))
        #expect(abs(try #require(outcome.parts).loss - want) < 1e-12 * (1 + want))
    }

    @Test(arguments: shapes + [(40, 7, [0, 3, 3, 5, 1])]) func gradientEqualsCentralDifferences(
        _ frames: Int, _ classes: Int, _ targets: [Int32]
    ) throws {
        let ctc = CTCLoss(collapsesTargets: false)
        let logits = try normal([frames, classes], seed: frames * classes)
        let gradient = try #require(try ctc(logits, targets: targets, gradientScale: 2).parts).gradient
        let want = try centralDifferences(logits, step: 0x1p-9) {
            2 * (try #require(try ctc($0, targets: targets).parts).loss)
        }
        // The third derivative of a logarithm of sums of exponentials is below 1: 2e-6 / 6 of it.
        for (got, want) in zip(gradient.values, want) { #expect(abs(Double(got) - want) < 2e-6) }
    }

    @Test func repeatedTargetsCountOnce() throws {
        let logits = try normal([9, 5], seed: 4)
        let (loss, gradient) = try #require(try CTCLoss()(logits, targets: [2, 2, 2, 0, 3, 3]).parts)
        let (want, same) = try #require(try CTCLoss(collapsesTargets: false)(logits, targets: [2, 0, 3]).parts)
        #expect(loss == want && gradient.values == same.values)
        #expect(CTCLoss.collapsed([]) == [] && CTCLoss.collapsed([4, 4, 1, 4]) == [4, 1, 4])
    }

    @Test func targetsThatDoNotFitAreAResult() throws {
        func check(_ frames: Int, _ targets: [Int32], needed: Int) throws {
            let outcome = try CTCLoss(collapsesTargets: false)(normal([frames, 4], seed: 1), targets: targets)
            guard case .tooFewFrames(needed, frames) = outcome else {
                Issue.record("\(targets) in \(frames) frames: \(outcome)")
                return
            }
        }
        try check(2, [0, 1, 2], needed: 3)
        try check(3, [1, 1, 2], needed: 4)
        try check(0, [1], needed: 1)
        #expect(try #require(try CTCLoss()(normal([3, 4], seed: 1), targets: [1, 1, 2]).parts).loss.isFinite)
    }

    @Test func noFramesAndNoTargetsCostNothing() throws {
        let (loss, gradient) = try #require(try CTCLoss()(Tensor(zeros: [0, 4]), targets: []).parts)
        #expect(loss == 0 && gradient.count == 0)
    }

    @Test func aBatchAveragesOverTheExamplesThatFit() throws {
        let logits = try (0..<3).map { try normal([6, 5], seed: $0) }
        let targets: [[Int32]] = [[0, 1, 2], [0, 1, 0, 1, 0, 1, 0], [3, 3]]
        let batch = try CTCLoss().batch(zip(logits, targets).map { (logits: $0, targets: $1) })
        let alone = try [0, 2].map {
            try #require(try CTCLoss()(logits[$0], targets: targets[$0], gradientScale: 0.5).parts)
        }
        #expect(batch.loss == LossSum(sum: alone[0].loss + alone[1].loss, count: 2))
        #expect(batch.skipped == 1)
        #expect(batch.outcomes[0].parts?.gradient.values == alone[0].gradient.values)
        #expect(batch.outcomes[1].parts == nil)
        #expect(batch.outcomes[2].parts?.gradient.values == alone[1].gradient.values)
        let shared = try CTCLoss().batch([(logits: logits[0], targets: targets[0])], count: 2)
        #expect(shared.outcomes[0].parts?.gradient.values == alone[0].gradient.values)
    }

    @Test func impossibleAndDamagedScoresShowInTheLoss() throws {
        let impossible = try Tensor([2, 3], [0, -.infinity, 0, 0, -.infinity, 0])
        let (infinite, zero) = try #require(try CTCLoss()(impossible, targets: [1]).parts)
        #expect(infinite == .infinity && zero.values.allSatisfy { $0 == 0 })
        let (possible, _) = try #require(try CTCLoss()(impossible, targets: [0]).parts)
        // Paths 00, 0-, -0 of four equally likely ones.
        #expect(abs(possible - log(4.0 / 3)) < 1e-12)
        for bad in [Float.nan, .infinity] {
            let (loss, gradient) = try #require(try CTCLoss()(Tensor([2, 2], [0, 1, bad, 0]), targets: [0]).parts)
            #expect(loss.isNaN && gradient.values.allSatisfy { $0.isNaN })
        }
    }

    @Test func classesThatAreNotThereAreRefused() throws {
        for targets: [Int32] in [[3], [-1], [0, 4]] {
            #expect(throws: LyraError.self) { try CTCLoss()(normal([5, 4], seed: 1), targets: targets) }
        }
        #expect(throws: LyraError.self) { try CTCLoss()(Tensor(zeros: [5, 0]), targets: []) }
    }

    @Test func theCallersLogitsStay() throws {
        let logits = try normal([5, 4], seed: 7)
        let before = logits.values
        _ = try CTCLoss()(logits, targets: [1, 2])
        #expect(logits.values == before)
    }
}
