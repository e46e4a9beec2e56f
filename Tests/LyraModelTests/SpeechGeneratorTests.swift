import TestSupport
import Testing

@testable import LyraModel

/// Speech units from hidden states, against the reference, which computes all rows at once.
@Suite struct SpeechGeneratorTests {
    @Test(arguments: Golden.both) func scoresEqualTheReference(_ golden: Golden) throws {
        let values = try golden.values("speech_generator")
        let generator = try #require(golden.checkpoint.generator)
        let rows = try values.tensor("in.hidden")
        var state = generator.makeState()
        let scores = try (0..<rows.rows).flatMap { try generator.logits(rows.rows($0..<$0 + 1), state: &state).values }
        #expect(difference(scores, try values.floats("out.ctc_logits")) < Golden.tolerance)
    }

    @Test(arguments: Golden.both) func unitsEqualTheReference(_ golden: Golden) throws {
        for name in ["speech_generator", "turn_text", "turn_speech", "turn_long"] {
            let values = try golden.values(name)
            let generator = try #require(golden.checkpoint.generator)
            let rows = try values.tensor(name == "speech_generator" ? "in.hidden" : "out.hidden")
            var state = generator.makeState()
            let units = try (0..<rows.rows).flatMap { try generator.append(rows.rows($0..<$0 + 1), to: &state) }
            #expect(units.map { Int($0) } == (try values.integers("out.units")), "\(name)")
        }
    }

    /// What greedy CTC gives from all the scores at once: collapse repeats, then drop blanks.
    @Test(arguments: Golden.both) func repeatsAcrossRowsCollapse(_ golden: Golden) throws {
        let generator = try #require(golden.checkpoint.generator)
        let row = try golden.values("speech_generator").tensor("in.hidden").rows(0..<1)
        let columns = generator.configuration.units + 1
        var (state, scoring) = (generator.makeState(), generator.makeState())
        var path: [Int] = []
        var units: [Int32] = []
        for _ in 0..<30 {
            units += try generator.append(row, to: &state)
            let scores = try generator.logits(row, state: &scoring).values
            path += stride(from: 0, to: scores.count, by: columns).map { start in
                let all = scores[start..<start + columns]
                return (all.indices.max { (all[$0], $1) < (all[$1], $0) } ?? start) - start
            }
        }
        let collapsed = path.indices.filter { $0 == 0 || path[$0] != path[$0 - 1] }.map { path[$0] }
        #expect(units.map { Int($0) } == collapsed.filter { $0 != columns - 1 })
        #expect(collapsed.count < path.count, "the path has repeats")
    }

    /// A copied state would share its caches with the original, so each answer has its own state.
    @Test func answersDoNotAffectEachOther() throws {
        let generator = try #require(Golden.a.checkpoint.generator)
        let rows = try Golden.a.values("turn_text").tensor("out.hidden")
        var (first, second) = (generator.makeState(), generator.makeState())
        var (firstUnits, secondUnits): ([Int32], [Int32]) = ([], [])
        for index in 0..<rows.rows {
            firstUnits += try generator.append(rows.rows(index..<index + 1), to: &first)
            let other = rows.rows - 1 - index
            _ = try generator.append(rows.rows(other..<other + 1), to: &second)
        }
        var again = generator.makeState()
        for index in 0..<rows.rows { secondUnits += try generator.append(rows.rows(index..<index + 1), to: &again) }
        #expect(firstUnits == secondUnits)
        #expect(firstUnits.map { Int($0) } == (try Golden.a.values("turn_text").integers("out.units")))
    }
}
