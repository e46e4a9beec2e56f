import Foundation
import LyraBase
import Testing

@testable import LyraEvaluation

@Suite struct LoggedRunTests {
    private func log(_ text: String) throws -> LoggedRun {
        let path = NSTemporaryDirectory() + "/lyra-log-\(UUID().uuidString).jsonl"
        defer { try? FileManager.default.removeItem(atPath: path) }
        try Data(text.utf8).write(to: URL(fileURLWithPath: path))
        return try LoggedRun(path: path, name: "run")
    }

    private func steps(_ log: LoggedRun, _ quantity: LoggedRun.Quantity = .loss) -> [Double] {
        log.points(quantity, overSeconds: false).flatMap { [$0.x, $0.y] }
    }

    @Test func linesOfAStepAreJoinedAndOthersLeftOut() throws {
        let log = try log(
            """
            {"event": "start"}
            {"step": 1, "loss": 3, "seconds": 0.5}
            {"step": 2, "loss": null, "lcmr": -0.5}

            {"step": 3, "loss": 2, "unknown": "x"}
            {"step": 3, "validation_loss": 2.5}
            {"step": 4, "loss": 1e200}

            """)
        #expect(steps(log) == [1, 3, 3, 2])
        #expect(steps(log, .validationLoss) == [3, 2.5] && steps(log, .regularizer) == [2, -0.5])
        #expect(log.points(.loss, overSeconds: true).map { [$0.x, $0.y] } == [[0.5, 3]])
    }

    @Test func aContinuedRunReplacesTheStepsThatItRepeats() throws {
        let lines = [(1, 9), (2, 8), (3, 7), (4, 6), (3, 5), (4, 4)].map { #"{"step": \#($0), "loss": \#($1)}"# }
        #expect(try steps(log(lines.joined(separator: "\n") + "\n")) == [1, 9, 2, 8, 3, 5, 4, 4])
    }

    @Test func onlyALastLineMayBeUnfinished() throws {
        #expect(try steps(log("{\"step\": 1, \"loss\": 2}\n{\"step\": 2, \"lo")) == [1, 2])
        for text in ["{\"step\": 1, \"loss\": 2}\n{\"st\n", "{\"st\n{\"step\": 1, \"loss\": 2}"] {
            do {
                _ = try log(text)
                Issue.record("\(text) was read")
            } catch let error as LyraError { #expect(error.message.contains("line")) }
        }
    }

    /// y1, (0.5 y1 + y2) / 1.5, (0.25 y1 + 0.5 y2 + y3) / 1.75
    @Test func smoothingIsTheExponentialMean() {
        let smoothed = TrainingCurves.smoothed([(1, 4), (2, 1), (3, 8)], weight: 0.5).map(\.y)
        for (got, expected) in zip(smoothed, [4, 2, 9.5 / 1.75]) { #expect(abs(got - expected) < 1e-12) }
        #expect(TrainingCurves.smoothed([(1, 4), (2, 1)], weight: 0).map(\.y) == [4, 1])
    }

    @Test func manyPointsAreAveragedInGroups() {
        let points = (0..<2500).map { (x: Double($0), y: Double($0) * 2) }
        let thinned = TrainingCurves.thinned(points)
        #expect(thinned.count == 834)
        #expect([thinned[0].x, thinned[0].y, thinned[833].x, thinned[833].y] == [1, 2, 2499, 4998])
        #expect(TrainingCurves.thinned(Array(points[..<1000])).count == 1000)
    }

    @Test func axesCoverTheirValues() {
        #expect(
            Axis(values: [0, 2e-5], logarithmic: false).ticks.map(Axis.label) == [
                "0", "5e-06", "1e-05", "1.5e-05",
                "2e-05",
            ])
        let axis = Axis(values: [-0.3, 1], logarithmic: false)
        #expect(axis.ticks.map(Axis.label) == ["-0.5", "0", "0.5", "1"])
        #expect(abs(axis.share(-0.5)) < 1e-12 && abs(axis.share(1) - 1) < 1e-12)
        #expect(Axis.label(0.1 + 0.2) == "0.3" && Axis.label(12500) == "12500")
    }
}
