import Foundation
import LyraModel
import LyraTools
import TestSupport
import Testing

@testable import Lyra

/// Sessions that are stepped together: each answers as it does alone.
@Suite(.serialized) struct TogetherTests {
    /// What a session is asked, and how it is set up.
    private struct Asked: Sendable {
        let turn: String
        var speaks = true
        var options: @Sendable (inout SessionOptions) -> Void = { _ in }
    }

    private static let all = [
        Asked(turn: "turn_text"), Asked(turn: "turn_speech"), Asked(turn: "turn_long", speaks: false),
        Asked(turn: "turn_image_speech"), Asked(turn: "turn_text", speaks: false),
        Asked(turn: "turn_speech") { $0.keyValueType = .int8 },
        Asked(turn: "turn_text") { ($0.sampling, $0.seed, $0.temperature) = (.random, 7, 1.5) },
        Asked(turn: "turn_long") { $0.maxNewTokens = 3 },
    ]

    private func begin(_ asked: Asked, _ golden: Golden, _ model: Model? = nil) throws -> Session {
        var options = SessionOptions()
        (options.sampling, options.maxNewTokens, options.speaks) = (.greedy, 12, asked.speaks)
        asked.options(&options)
        let session = try Session(model ?? golden.model, options: options)
        switch asked.turn {
        case "turn_speech":
            try session.feed(pcm: golden.shortRecording)
            try session.feed(text: "What is said?")
        case "turn_long":
            try session.feed(pcm: golden.longRecording)
            try session.feed(text: "Summarize.")
        case "turn_image_speech":
            try session.feed(.image(.pixels(golden.image("image_tall"))))
            try session.feed(pcm: golden.shortRecording)
        default: try session.feed(text: "Hello! Who are you?")
        }
        try session.endTurn()
        return session
    }

    /// Steps all to their ends. `joining` come after some steps. `before` may act on a session before each step.
    private func finish(
        _ sessions: [Session], joining: [Session] = [], before: (Int) throws -> Void = { _ in }
    ) throws -> [Outcome] {
        let all = sessions + joining
        var outcomes = all.map { _ in Outcome() }
        for step in 0... {
            try before(step)
            let due = all.indices.filter { outcomes[$0].ends == 0 && ($0 < sessions.count || step >= 10) }
            if due.isEmpty && step >= 10 { break }
            for (index, result) in zip(due, try Session.step(due.map { all[$0] })) {
                let events = try result.get(), before = outcomes[index].tokens.count
                outcomes[index].text += all[index].readText()
                outcomes[index].audio += all[index].readAudio()
                outcomes[index].tokens += all[index].readTokens()
                outcomes[index].units += all[index].readUnits()
                #expect(outcomes[index].tokens.count <= before + 1, "a step gives one token at most")
                if events.contains(.end) { outcomes[index].ends += 1 }
            }
        }
        for (index, session) in all.enumerated() { outcomes[index].stop = session.usage.stop }
        return outcomes
    }

    private func compare(_ got: Outcome, with want: Outcome, _ what: String) {
        #expect(got.tokens == want.tokens && got.text == want.text && got.stop == want.stop, "\(what)")
        #expect(got.units == want.units && got.audio.count == want.audio.count, "\(what)")
        #expect(zip(got.audio, want.audio).allSatisfy { abs($0 - $1) < 1e-4 }, "\(what)")
    }

    @Test(arguments: Golden.both) func everyAnswerIsThatOfTheSessionAlone(_ golden: Golden) throws {
        let first = try Self.all.prefix(6).map { try begin($0, golden) }
        let together = try finish(first, joining: Self.all.dropFirst(6).map { try begin($0, golden) })
        for (asked, got) in zip(Self.all, together) {
            compare(got, with: try begin(asked, golden).finish(), asked.turn)
        }
        #expect(together[1].tokens == (try golden.integers("turn_speech", "out.ids")))
        #expect(together[1].units == (try golden.integers("turn_speech", "out.units")))
        #expect(together[3].tokens == (try golden.integers("turn_image_speech", "out.ids")))
    }

    /// More sessions than rows that are rounded finely when they belong together.
    @Test(arguments: [(Recipe.bf16, false), (.q8_0, false), (.q4_k_m, false), (.bf16, true), (.q8_0, true)])
    func roundingIsThatOfTheSessionAlone(_ recipe: Recipe, _ usesTiles: Bool) throws {
        func check() throws {
            var options = ModelOptions()
            options.precision = .fast
            let file = try ConvertedFixture(.a, recipe), model = try Model(path: file.path, options: options)
            let together = try finish((0..<9).map { try begin(Self.all[$0 < 2 ? 0 : 4], .a, model) })
            let alone = try [0, 4].map { try begin(Self.all[$0], .a, model).finish() }
            for (index, got) in together.enumerated() {
                compare(got, with: alone[index < 2 ? 0 : 1], "\(recipe.name), tiles: \(usesTiles), \(index)")
            }
        }
        if usesTiles { try onTiles(check) } else { try check() }
    }

    /// Another thread may stop a session at any moment, also between two pieces of a step.
    @Test func stopsFromAnotherThreadLeaveTheOthersAlone() throws {
        let want = try begin(Self.all[4], .a).finish()
        for round in 0..<12 {
            let sessions = try (0..<4).map { _ in try begin(Self.all[4], .a) }
            let control = sessions[1].control
            let thread = Thread {
                usleep(UInt32(round * 700))
                control.stop()
            }
            thread.start()
            let got = try finish(sessions)
            for index in [0, 2, 3] { compare(got[index], with: want, "round \(round), \(index)") }
            #expect(got[1].tokens == Array(want.tokens.prefix(got[1].tokens.count)) && got[1].ends == 1)
        }
    }

    /// One is cancelled, one is stopped, one fails; the others do not notice.
    @Test func endsOfSomeLeaveTheOthersAlone() throws {
        let golden = Golden.a
        let sessions = try (0..<6).map { _ in try begin(Self.all[0], golden) }
        let small = try begin(Asked(turn: "turn_text") { $0.maxMemoryBytes = 1000 }, golden)
        let want = try begin(Self.all[0], golden).finish()
        let first = try Session.step([sessions[0], small, sessions[1]])
        expect(.memory, "max_memory") { _ = try first[1].get() }
        #expect(try first[0].get() == .progress && first[2].get() == .progress)
        #expect(!small.isAnswering && small.usage.stop == .failed)
        let got = try finish(sessions) { step in
            if step == 6 { sessions[1].control.cancel() }
            let progress = sessions[2].progress
            if progress.phase == .answer, progress.done == 3 { sessions[2].control.stop() }
        }
        for index in [0, 3, 4, 5] { compare(got[index], with: want, "\(index)") }
        #expect(got[1].stop == .cancelled && got[1].ends == 1)
        #expect(got[2].stop == .stopped && !got[2].tokens.isEmpty && got[2].tokens.count < want.tokens.count)
        #expect(got[2].tokens == Array(want.tokens.prefix(got[2].tokens.count)))
    }

    @Test func whatCannotBeSteppedTogetherIsRefused() throws {
        let one = try begin(Self.all[0], .a), other = try begin(Self.all[0], .b)
        expect(.argument, "twice") { _ = try Session.step([one, one]) }
        expect(.argument, "different models") { _ = try Session.step([one, other]) }
        #expect(try Session.step([]).isEmpty)
        // A session without a turn reports its error alone.
        let idle = try Golden.a.session(), results = try Session.step([idle, one])
        expect(.state, "no turn is in progress") { _ = try results[0].get() }
        #expect(try results[1].get() == .progress)
    }
}
