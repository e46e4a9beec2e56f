import Foundation
import LyraBase
import LyraFormats
import LyraTensor
import TestSupport
import Testing

@testable import LyraTraining

/// The loop of updates, on a linear regression.
@Suite(.serialized) struct TrainerTests {
    /// Gradients, clipping, schedule and AdamW by their formulas in double precision.
    @Test func theUpdatesAreAdamWsOnTheMeanGradient() throws {
        let run = try ToyRun(isShuffled: false), points = try ToyRun.points
        var got: [TrainingProgress] = []
        let outcome = try run.trainer.run(in: nil) {
            got.append($0)
            return .proceed
        }
        #expect(outcome == .finished && got.count == 15)
        var w = [Double](repeating: 0, count: 5), m = w, v = w
        for step in 0..<15 {
            let batch = points[step % 5 * 4..<step % 5 * 4 + 4]
            let residuals = batch.map { point in
                zip(w, point.x).reduce(0) { $0 + $1.0 * Double($1.1) } - Double(point.y)
            }
            let loss = residuals.reduce(0) { $0 + $1 * $1 } / 4 * 0.5
            let gradient = w.indices.map { i in
                zip(residuals, batch).reduce(0) { $0 + $1.0 * Double($1.1.x[i]) } / 4
            }
            let norm = gradient.reduce(0) { $0 + $1 * $1 }.squareRoot()
            // The warm-up takes a tenth of 15 updates, rounded up.
            let factor = step < 2 ? Double(step) / 2 : 0.5 * (1 + cos(.pi * Double(step - 2) / 13))
            let scale = min(1, 2 / norm), rate = 0.05 * factor
            for i in w.indices {
                let g = gradient[i] * scale
                m[i] = 0.9 * m[i] + 0.1 * g
                v[i] = 0.999 * v[i] + 0.001 * g * g
                let (mean, square) = (
                    m[i] / (1 - pow(0.9, Double(step + 1))), v[i] / (1 - pow(0.999, Double(step + 1)))
                )
                w[i] = w[i] * (1 - rate * 0.01) - rate * mean / (square.squareRoot() + 1e-8)
            }
            // Fifteen steps of floats.
            #expect(difference(got[step].loss, loss) < 1e-5 && difference(got[step].gradientNorm, norm) < 1e-5)
            #expect(difference(got[step].learningRate, rate) < 1e-12 || rate == 0)
            #expect(got[step].step == step + 1 && got[step].steps == 15 && got[step].examples == 4 * (step + 1))
            #expect(got[step].tokens == 20 * (step + 1) && got[step].epoch == Double(step + 1) / 5)
        }
        #expect(difference(run.weights, w) < 1e-5)
    }

    /// Batches of 4 and 1 in turn, against batches of 20: sums and numbers of terms are added before they are divided.
    @Test func accumulatedBatchesAreOneLargeBatch() throws {
        let large = try ToyRun(size: 20, length: .steps(6)),
            small = try ToyRun(size: 3, accumulation: 7, length: .steps(6))
        #expect(small.trainer.batchCount == 7)
        for run in [large, small] { #expect(try run.trainer.run(in: nil) == .finished) }
        #expect(small.trainer.record.examples == 120 && small.trainer.record.position == 42)
        #expect(difference(small.weights, large.weights.map(Double.init)) < 1e-5)
    }

    /// The media of an update need not all be in memory: batches beyond the limit are made again when they are
    /// computed.
    @Test func batchesBeyondTheHeldBytesAreMadeAgain() throws {
        let runs = try [(limit: Int.max, made: 12), (7 * 8, 12 + 3 * 1), (0, 12 + 3 * 3)].map { limit, made in
            let run = try ToyRun(noise: 0.5, accumulation: 4, length: .steps(3), bytes: 7) { $0.heldBytes = limit }
            #expect(try run.trainer.run(in: nil) == .finished)
            // Two batches of four points beside the first fit 56 bytes.
            #expect(run.trainer.source.batchesMade == made, "\(limit)")
            return run.weights
        }
        #expect(runs[1] == runs[0] && runs[2] == runs[0], "bit for bit, as with one instruction set")
    }

    @Test func theShareOfBadExamplesIsThatOfAllProcesses() throws {
        let judged = try ThreadGroup.run(2) { group in
            let run = try ToyRun(length: .steps(6), group: group)
            run.trainer.source.skipped.count = 3 * group.rank
            (run.trainer.source.skipped.seen, run.trainer.source.skipped.passed) = (10, 5)
            _ = try run.trainer.run(in: nil)
            return run.trainer.source.judged.map { [$0.bad, $0.seen, $0.endsEpoch ? 1 : 0] }
        }
        // An epoch has five batches.
        #expect(judged[0] == [0, 0, 0, 0, 1, 0].map { [3, 30, $0] } && judged[1] == judged[0])
    }

    @Test func theLastUpdateOfAnEpochTakesTheBatchesThatAreLeft() throws {
        let run = try ToyRun(accumulation: 2, length: .epochs(1))
        #expect(run.trainer.steps == 3)
        #expect(try run.trainer.run(in: nil) == .finished)
        #expect(run.trainer.record.examples == 20 && run.trainer.record.position == 5)
    }

    /// The lines of a log: update and epoch of each.
    private func lines(_ path: String) throws -> [String] {
        try String(contentsOfFile: path, encoding: .utf8).split(separator: "\n").map { line in
            line.split(separator: ",").prefix(2).joined(separator: ",")
        }
    }

    private func withDirectory(_ body: (RunDirectory) throws -> Void) throws {
        let path = FileManager.default.temporaryDirectory.appendingPathComponent("run-\(UUID().uuidString)").path
        defer { try? FileManager.default.removeItem(atPath: path) }
        let directory = RunDirectory(path + "/inner", kept: 2)
        try directory.create()
        try body(directory)
    }

    /// Stopped by the callback, interrupted in the middle of an update, and ended by an error after a saved state.
    ///
    /// Other suites switch the instruction set meanwhile, which moves the last digit; Tests/cli/test_train.py compares
    /// bit for bit.
    @Test func aResumedRunIsTheSame() throws {
        try withDirectory { whole in
            let reference = try ToyRun(noise: 0.5, validates: true)
            #expect(try reference.trainer.run(in: whole) == .finished)
            let expected = try lines(whole.log)
            #expect(expected.count == 15 + 4)
            try withDirectory { directory in
                let first = try ToyRun(noise: 0.5, validates: true)
                #expect(try first.trainer.run(in: directory) { $0.step == 3 ? .stop : .proceed } == .stopped)

                let second = try ToyRun(noise: 0.5, validates: true)
                try second.trainer.resume(from: Safetensors(path: directory.state(3)))
                let interruption = Interruption()
                second.objective.beforeBatch = {
                    if $0 == 4 { interruption.raise() }
                    try Interruption.check()
                }
                #expect(try second.trainer.run(in: directory, interruption: interruption) == .interrupted)
                #expect(try directory.savedSteps() == [3, 7])

                let third = try ToyRun(noise: 0.5, validates: true)
                try third.trainer.resume(from: Safetensors(path: directory.state(7)))
                third.objective.beforeBatch = { if $0 == 4 { throw LyraError(.io, "pulled out") } }
                #expect(throws: LyraError.self) {
                    try third.trainer.run(in: directory) { $0.step == 9 ? .save : .proceed }
                }
                #expect(try directory.savedSteps() == [7, 9])
                #expect(try lines(directory.log).count == 11 + 2)

                let last = try ToyRun(noise: 0.5, validates: true)
                try last.trainer.resume(from: Safetensors(path: directory.state(9)))
                #expect(try last.trainer.run(in: directory) == .finished)
                #expect(difference(last.weights, reference.weights.map(Double.init)) < 1e-5)
                #expect(try lines(directory.log) == expected)
                #expect(try directory.savedSteps() == [9, 15])
                // The least loss was kept, in both runs the same.
                let best = try [whole, directory].map {
                    try #require(try Safetensors(path: $0.best).tensor("parameter.w")).floats()
                }
                #expect(difference(best[0], best[1].map(Double.init)) < 1e-5)
            }
        }
    }

    @Test func aStateOfOtherParametersOrAnotherFileIsRefused() throws {
        try withDirectory { directory in
            let run = try ToyRun(validates: true)
            _ = try run.trainer.run(in: directory) { $0.step == 4 ? .stop : .proceed }
            let objective = try Regression(inputs: 3)
            let other = try Trainer(
                objective, PointSource([Point(x: [1, 2, 3], y: 1)], size: 1, seed: nil),
                parameters: [TrainedParameter("w", objective.weight)],
                settings: TrainerSettings(groups: [Optimizer.Group(learningRate: 1)], length: .steps(9)),
                length: { _ in 1 }
            )
            let shape = #expect(throws: LyraError.self) {
                try other.resume(from: Safetensors(path: directory.state(4)))
            }
            #expect(shape?.message.contains("[1, 5]; the run needs F32 [1, 3]") == true, "\(shape?.message ?? "")")
            let foreign = #expect(throws: LyraError.self) { try other.resume(from: Safetensors(path: directory.best)) }
            #expect(foreign?.message.contains("not a saved state") == true)
            let short = try ToyRun(length: .steps(3))
            let long = #expect(throws: LyraError.self) {
                try short.trainer.resume(from: Safetensors(path: directory.state(4)))
            }
            #expect(long?.message.contains("after 4 updates, but the run has 3") == true)
        }
    }

    @Test func anUpdateThatIsNotFiniteIsLeftOutAndManyStopTheRun() throws {
        let run = try ToyRun { $0.failureLimit = 3 }
        run.objective.disturbance = { [1, 2].contains($0) || $0 > 4 ? .infinity : 0 }
        var weights: [[Float]] = [], reports: [TrainingProgress] = []
        let error = #expect(throws: LyraError.self) {
            try run.trainer.run(in: nil) {
                weights.append(run.weights)
                reports.append($0)
                return .proceed
            }
        }
        #expect(error?.message.contains("3 updates in a row") == true)
        #expect(reports.map(\.isLeftOut) == [false, true, true, false, false, true, true])
        #expect(reports.map(\.skippedUpdates) == [0, 1, 2, 2, 2, 3, 4])
        // The first update has the learning rate 0.
        #expect(weights[0] == weights[2] && weights[2] != weights[3] && weights[4] == weights[6])
        #expect(try JSONText.encode(LogLine(reports[1])).contains("gradient_norm") == false)
    }

    private func failure(
        _ run: ToyRun, in directory: RunDirectory? = nil,
        _ onProgress: (TrainingProgress) -> TrainingDecision = { _ in .proceed }
    ) -> String {
        let error = #expect(throws: LyraError.self) { try run.trainer.run(in: directory, onProgress: onProgress) }
        return error?.message ?? ""
    }

    /// Fewer updates are left out than stop a run, but no update follows them.
    @Test func aRunThatEndsWithUpdatesThatAreNotFiniteFails() throws {
        try withDirectory { directory in
            let run = try ToyRun(length: .steps(6))
            run.objective.disturbance = { $0 > 3 ? .infinity : 0 }
            let message = failure(run, in: directory) { [2, 3].contains($0.step) ? .save : .proceed }
            #expect(message.contains("2 updates in a row, 5 to 6, are not finite"), "\(message)")
            #expect(message.contains("the gradient of \"w\"") && message.contains("optimizer.learning_rate"))
            #expect(try directory.savedSteps() == [2, 3], "no state of the end")
        }
        let none = try ToyRun(length: .steps(1))
        none.objective.disturbance = { _ in .infinity }
        #expect(failure(none).contains("update 1 are not finite"))
        let last = try ToyRun(length: .steps(3))
        last.objective.disturbance = { $0 == 2 ? .infinity : 0 }
        #expect(try last.trainer.run(in: nil) == .finished, "one batch can be at fault")
    }

    /// 10³⁹ is infinite as a float.
    @Test func parametersThatAreNotFiniteStopTheRunAtOnceAndAreNotSaved() throws {
        try withDirectory { directory in
            let run = try ToyRun(length: .steps(20)) { $0.groups[0].learningRate = 1e39 }
            let message = failure(run, in: directory) { $0.step == 1 ? .save : .proceed }
            #expect(message.contains("after update 2, the values of \"w\" are not finite"), "\(message)")
            #expect(message.contains("square is ") && message.contains("in the next update"), "\(message)")
            #expect(try directory.savedSteps() == [1])
            let saving = try ToyRun(length: .steps(2)) { $0.groups[0].learningRate = 1e39 }
            #expect(failure(saving, in: directory).contains("after update 2, the values of \"w\" are not finite"))
            #expect(try directory.savedSteps() == [])
        }
    }

    /// While updates are left out, no state is saved unasked, and none from before is removed.
    @Test func theLastGoodStateIsKept() throws {
        try withDirectory { directory in
            let run = try ToyRun(length: .steps(9)) { $0.saveInterval = 0 }
            run.objective.disturbance = { (3...6).contains($0) ? .infinity : 0 }
            var saved: [[Int]] = []
            _ = try run.trainer.run(in: directory) {
                saved.append((try? directory.savedSteps()) ?? [])
                return $0.step == 5 ? .save : .proceed
            }
            // Called before the state of the same update is saved.
            #expect(saved == [[], [1], [1, 2], [2, 3], [2, 3], [2, 3, 5], [2, 3, 5], [2, 3, 5], [5, 8]])
        }
    }

    @Test func aRunWhoseParametersHaveNoGradientFailsAfterTheFirstEpoch() throws {
        let run = try ToyRun(length: .epochs(3)) { $0.needed = "speech" }
        run.objective.isReached = false
        var steps = 0
        let message = failure(run) {
            steps = $0.step
            return .proceed
        }
        #expect(steps == 4 && message.contains("in 20 examples nothing had a gradient"), "\(message)")
        #expect(message.contains("no example has speech"))
        let short = try ToyRun(length: .steps(2))
        short.objective.isReached = false
        #expect(failure(short).contains("the loss does not depend on the trained parameters"))
        let reached = try ToyRun(length: .steps(2))
        #expect(try reached.trainer.run(in: nil) == .finished && reached.trainer.unreachedParameters.isEmpty)
    }

    /// Moments tend to 0, and states of earlier versions have nothing else.
    @Test func aStateKnowsWhichParametersHaveHadAGradient() throws {
        try withDirectory { directory in
            let run = try ToyRun()
            func resumed(_ reached: [Bool]?, _ optimizer: Optimizer) throws -> [String] {
                var record = run.trainer.record
                record.reached = reached
                try RunState.write(record, run.trainer.parameters, optimizer, to: directory.state(2))
                let next = try ToyRun()
                try next.trainer.resume(from: Safetensors(path: directory.state(2)))
                return next.trainer.unreachedParameters.map(\.name)
            }
            _ = try run.trainer.run(in: nil) { $0.step == 2 ? .stop : .proceed }
            #expect(run.trainer.record.reached == [true])
            let decayed = try ToyRun().trainer.optimizer
            #expect(try resumed([true], decayed) == [] && resumed([false], run.trainer.optimizer) == ["w"])
            #expect(try resumed(nil, decayed) == ["w"] && resumed(nil, run.trainer.optimizer) == [])
            #expect(throws: LyraError.self) { try resumed([true, true], decayed) }
        }
    }

    @Test func validationTakesTheMeanOverItsOwnPoints() throws {
        let run = try ToyRun(validates: true), held = try ToyRun.points.prefix(7)
        var results: [Int: ValidationResult] = [:], weights: [Int: [Float]] = [:]
        _ = try run.trainer.run(in: nil) {
            (results[$0.step], weights[$0.step]) = ($0.validation, run.weights)
            return .proceed
        }
        #expect(results.keys.sorted() == [4, 8, 12, 15])
        for (step, result) in results {
            let w = try #require(weights[step])
            let squares = held.reduce(0.0) { sum, point in
                let residual = zip(w, point.x).reduce(0) { $0 + $1.0 * $1.1 } - point.y
                return sum + Double(residual) * Double(residual)
            }
            #expect(difference(result.loss, squares / 7 / 2) < 1e-5)
            #expect(result.exactMatch == Double(held.count { $0.y > 0 }) / 7)
        }
    }

    /// The first update has the learning rate 0.
    @Test func theParametersOfTheStartAreNoResult() throws {
        let run = try ToyRun(validates: true) { $0.validationInterval = 1 }
        var best: [Int?] = []
        _ = try run.trainer.run(in: nil) {
            #expect($0.validation?.isBest == true)
            best.append(run.trainer.record.bestStep)
            return $0.step == 2 ? .stop : .proceed
        }
        #expect(best == [nil, 2] && run.trainer.record.bestLoss != nil)
    }

    @Test func aLogKeepsItsLinesUpToTheResumedUpdate() throws {
        try withDirectory { directory in
            let text =
                #"{"step":1,"loss":3}"# + "\n" + #"{"step":2,"loss":2}"# + "\n" + #"{"step":2,"validation_loss":1}"#
            try (text + "\n" + #"{"step":3,"loss":1}"# + "\n" + #"{"ste"#).write(
                toFile: directory.log, atomically: true, encoding: .utf8)
            let log = try TrainingLog(path: directory.log)
            try log.removeLines(after: 2)
            #expect(!log.isNew && log.isLocked)
            #expect(try String(contentsOfFile: directory.log, encoding: .utf8) == text + "\n")
            let second = #expect(throws: LyraError.self) { try TrainingLog(path: directory.log) }
            #expect(second?.message.contains("another run writes to it") == true)
            withExtendedLifetime(log) {}
        }
    }
}
