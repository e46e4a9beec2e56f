import LyraBase
import Testing

@testable import LyraTraining

/// The factors, worked out by hand.
@Suite struct ScheduleTests {
    private func factors(_ schedule: Schedule, _ steps: [Int]) -> [Double] { steps.map { schedule.factor(at: $0) } }

    private func expectEqual(_ got: [Double], _ want: [Double]) {
        #expect(zip(got, want).allSatisfy { abs($0 - $1) < 1e-15 } && got.count == want.count, "\(got)")
    }

    @Test func cosineWarmsUpAndFalls() throws {
        let schedule = try Schedule(.cosine, steps: 10, warmupShare: 0.2)
        #expect(schedule.warmupSteps == 2)
        // cos 0 = 1, cos π/4 = √½, cos π/2 = 0, cos 3π/4 = −√½, cos π = −1
        let root = 0.5.squareRoot()
        expectEqual(
            factors(schedule, [0, 1, 2, 4, 6, 8, 10]), [0, 0.5, 1, 0.5 + 0.5 * root, 0.5, 0.5 - 0.5 * root, 0])
    }

    @Test func linearWarmsUpAndFalls() throws {
        let schedule = try Schedule(.linear, steps: 8, warmupShare: 0.5)
        expectEqual(factors(schedule, Array(0...8)), [0, 0.25, 0.5, 0.75, 1, 0.75, 0.5, 0.25, 0])
    }

    @Test func constantStays() throws {
        let schedule = try Schedule(.constant, steps: 5, warmupShare: 0.4)
        expectEqual(factors(schedule, Array(0...6)), [0, 0.5, 1, 1, 1, 1, 1])
        expectEqual(factors(try Schedule(.constant, steps: 5), [0, 4]), [1, 1])
    }

    /// The paper's 3 % and 9 %, rounded up.
    @Test func warmupIsAShareOfTheSteps() throws {
        #expect(try Schedule(.cosine, steps: 1000, warmupShare: 0.03).warmupSteps == 30)
        #expect(try Schedule(.cosine, steps: 101, warmupShare: 0.03).warmupSteps == 4)
        #expect(try Schedule(.cosine, steps: 150, warmupShare: 0.09).warmupSteps == 14)
        #expect(try Schedule(.cosine, steps: 7).warmupSteps == 0)
        #expect(try Schedule(.cosine, steps: 7).factor(at: 0) == 1)
    }

    @Test(arguments: Schedule.Shape.allCases) func noStepIsOutside(_ shape: Schedule.Shape) throws {
        for share in [0, 0.5, 1] {
            for steps in [1, 2, 7] {
                let schedule = try Schedule(shape, steps: steps, warmupShare: share)
                for step in [Int.min, -1, 0, 1, steps - 1, steps, steps + 1, Int.max] {
                    #expect((0...1).contains(schedule.factor(at: step)))
                }
                #expect(schedule.factor(at: .max) == schedule.factor(at: steps))
            }
        }
    }

    @Test func wrongNumbersAreRefused() {
        for (steps, share) in [(0, 0), (-1, 0), (.max, 0), (10, -0.1), (10, 1.1), (10, .nan)] {
            #expect(throws: LyraError.self) { try Schedule(.cosine, steps: steps, warmupShare: share) }
        }
    }
}
