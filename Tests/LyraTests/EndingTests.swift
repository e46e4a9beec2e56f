import LyraBase
import Foundation
import Synchronization
import TestSupport
import Testing

@testable import Lyra

/// Turns that are cancelled, stopped, or end with an error. A turn that is rolled back leaves no trace.
@Suite struct EndingTests {
    private static let opening = "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n"
    private static let end = "<|im_end|>\n<|im_start|>assistant\n"

    private func spoken(_ golden: Golden) throws -> Session {
        try golden.session {
            // Random sampling: the answer differs if the sampler was not rolled back.
            ($0.speaks, $0.maxNewTokens) = (true, 6)
            ($0.sampling, $0.temperature, $0.topK, $0.topP, $0.seed) = (.random, 1.5, 0, 1, 5)
        }
    }

    @Test func aTurnCancelledAtAnyStepLeavesNoTrace() throws {
        let golden = Golden.a
        let pcm = try golden.shortRecording
        let undisturbed = try spoken(golden)
        let first = try undisturbed.ask("Hello!")
        let wanted = try undisturbed.ask("And now?")
        try #require(!wanted.audio.isEmpty)
        let steps = try undisturbed.ask("What is said?", hearing: pcm).steps
        var phases: Set<Int32> = []
        // The stride is such that every phase is cancelled, which is checked below.
        for step in Array(stride(from: 0, to: steps - 1, by: 4)) + [steps - 2] {
            let session = try spoken(golden)
            #expect(try session.ask("Hello!") == first)
            try session.feed(pcm: pcm)
            try session.feed(text: "What is said?")
            try session.endTurn()
            for _ in 0..<step { try #require(!session.step().contains(.end)) }
            phases.insert(session.progress.phase.rawValue)
            session.control.cancel()
            #expect(try session.step() == .end, "step \(step)")
            #expect(session.usage.stop == .cancelled)
            #expect(session.readText().isEmpty && session.readAudio().isEmpty)
            #expect(session.readTokens().isEmpty && session.readUnits().isEmpty)
            expect(.state) { _ = try session.step() }
            #expect(try session.ask("And now?") == wanted, "cancelled before step \(step) of \(steps)")
            #expect(session.usage.adapter == nil, "the adapter is rolled back, too")
        }
        #expect(phases == [1, 2, 3])
    }

    @Test func aFirstTurnThatIsCancelledLeavesAFreshSession() throws {
        let fresh = try spoken(Golden.b).ask("Hello!")
        let session = try spoken(Golden.b)
        try session.feed(text: "Something else")
        try session.endTurn()
        for _ in 0..<12 { _ = try session.step() }
        session.control.cancel()
        #expect(try session.step() == .end)
        try session.setSystemPrompt(session.systemPrompt)
        #expect(try session.ask("Hello!") == fresh)
    }

    @Test func aTurnCancelledWhileItIsFedIsDiscardedWithoutAnEvent() throws {
        let fresh = try spoken(Golden.b).ask("Hello!")
        let session = try spoken(Golden.b)
        try session.feed(text: "Something else")
        try session.feed(pcm: [Float](repeating: 0.1, count: 100))
        session.control.cancel()
        #expect(try session.ask("Hello!") == fresh)
        try session.feed(text: "Something else")
        session.control.cancel()
        expect(.state) { try session.endTurn() }
    }

    private final class Messages: Sendable {
        let all = Mutex<[String]>([])
    }

    /// A session whose model logs into `messages`.
    private func logging(_ messages: Messages) throws -> Session {
        let model = Model(checkpoint: Golden.a.model.checkpoint) { level, message in
            messages.all.withLock { $0.append("\(level): \(message)") }
        }
        var options = SessionOptions()
        (options.sampling, options.maxNewTokens) = (.greedy, 4)
        return try Session(model, options: options)
    }

    @Test(arguments: [false, true]) func usageReportsARequestBetweenFeeds(_ isStop: Bool) throws {
        let messages = Messages()
        let session = try logging(messages)
        let wanted = try Golden.a.session { $0.maxNewTokens = 4 }.ask("Hello!").tokens
        func request() { isStop ? session.control.stop() : session.control.cancel() }
        let reason = isStop ? StopReason.stopped : .cancelled
        #expect(session.usage.stop == .none)
        try session.feed(pcm: [Float](repeating: 0.1, count: 100))
        request()
        #expect(session.usage.stop == reason, "at once")
        expect(.state) { _ = try session.step() }
        #expect(session.usage.stop == reason, "after the turn was discarded")
        expect(.state) { _ = try session.step() }
        expect(.state) { try session.endTurn() }
        try session.feed(text: "Hello!")
        #expect(session.usage.stop == reason, "until the next turn ends")
        try session.endTurn()
        #expect(session.usage.stop == .none && session.usage.mediaTokens == 0)
        #expect(try session.finish().tokens == wanted, "later feeds are a new turn")
        try session.feed(text: "Some")
        #expect(session.usage.stop == .none, "of the turn that is being fed, not of the last")
        request()
        try session.feed(text: "Others")
        #expect(session.usage.stop == reason)
        request()
        expect(.state) { try session.endTurn() }
        #expect(session.usage.stop == reason)
        let logged = messages.all.withLock { $0 }
        #expect(logged.count == 3, "\(logged)")
        #expect(logged.allSatisfy { $0.hasPrefix("info: ") && $0.contains("discarded") }, "\(logged)")
    }

    /// Cancels the turn when it is read; it has no bytes.
    private final class CancellingReader: ByteReader {
        let control: TurnControl
        init(_ control: TurnControl) { self.control = control }
        func read(into buffer: UnsafeMutableRawBufferPointer) -> Int {
            control.cancel()
            return 0
        }
        func seek(to offset: Int64) {}
        var size: Int64 { 100 }
    }

    @Test func aCancelDuringAFeedIsTheErrorOfTheFeed() throws {
        let session = try logging(Messages())
        try session.feed(text: "Hello!")
        expect(.state, "cancelled") { try session.feed(.image(.reader(CancellingReader(session.control)))) }
        #expect(session.usage.stop == .cancelled)
        expect(.state) { try session.endTurn() }
        expect(.state, "cancelled") { try session.feed(.speech(.reader(CancellingReader(session.control)))) }
        // A feed that fails leaves nothing to cancel.
        expect(.io) { try session.feed(.image(.file("/nowhere.png"))) }
        session.control.cancel()
        try session.feed(text: "Hello!")
        #expect(try session.outcome().tokens == Golden.a.session { $0.maxNewTokens = 4 }.ask("Hello!").tokens)
    }

    /// Usage and media are those of the turn that is being fed, and those of the last turn if nothing was fed.
    @Test func whatIsToldIsOfTheTurnInProgress() throws {
        let golden = Golden.a
        let session = try golden.session()
        _ = try session.ask("What is said?", hearing: golden.shortRecording)
        let last = session.usage
        expect(.io) { try session.feed(.image(.file("/nowhere.png"))) }
        #expect(session.usage.stop == last.stop && session.usage.generatedTokens == last.generatedTokens)
        #expect(session.media.map(\.kind) == [.speech])
        try session.feed(text: "And now?")
        #expect(session.usage.stop == .none && session.usage.generatedTokens == 0 && session.usage.mediaTokens == 0)
        #expect(session.media.isEmpty && session.usage.cachedTokens == session.conversation.length)
        _ = try session.outcome()
        #expect(session.media.isEmpty && session.usage.promptTokens > 0)
    }

    @Test func requestsWithNothingInProgressDoNothing() throws {
        let session = try spoken(Golden.b)
        session.control.stop()
        session.control.cancel()
        let fresh = try session.ask("Hello!")
        session.control.stop()
        session.control.cancel()
        let second = try session.ask("And now?")
        let other = try spoken(Golden.b)
        #expect(try other.ask("Hello!") == fresh)
        #expect(try other.ask("And now?") == second)
    }

    /// The tokens before the stop stay, closed as the template closes an answer, and the next turn follows them.
    @Test func aStoppedAnswerKeepsItsTokens() throws {
        let golden = Golden.a
        let wanted = try golden.integers("turn_text", "out.ids")
        for length in [1, 2, 5, 11] {
            let session = try golden.session { $0.speaks = true }
            try session.feed(text: "Hello! Who are you?")
            try session.endTurn()
            var tokens: [Int32] = []
            while tokens.count < length {
                _ = try session.step()
                tokens += session.readTokens()
            }
            session.control.stop()
            while try !session.step().contains(.end) {}
            #expect(session.usage.stop == .stopped && session.usage.generatedTokens == length)
            #expect(!session.readAudio().isEmpty, "unread audio stays readable")
            #expect(tokens == Array(wanted.prefix(length)))
            let next = try session.ask("And where?")
            let items: [PromptItem] = [
                .text(Self.opening + "Hello! Who are you?" + Self.end), .ids(tokens),
                .text("<|im_end|>\n<|im_start|>user\nAnd where?" + Self.end),
            ]
            #expect(next.tokens == (try golden.answer(items)), "stopped after \(length)")
        }
    }

    @Test func unreadTextStaysReadableAfterAStop() throws {
        let session = try Golden.a.session { $0.speaks = true }
        let whole = try Golden.a.session().ask("Hello! Who are you?")
        try session.feed(text: "Hello! Who are you?")
        try session.endTurn()
        while session.usage.generatedTokens < 6 { _ = try session.step() }
        session.control.stop()
        while try !session.step().contains(.end) {}
        #expect(session.readTokens() == Array(whole.tokens.prefix(6)))
        let text = session.readText()
        #expect(!text.isEmpty && whole.text.starts(with: text))
    }

    /// A request that arrives while the last step runs takes effect in one more step.
    @Test func aCancelDuringTheLastStepIsNotLost() throws {
        let control = TurnControl()
        control.begin()
        #expect(control.tryEnd())
        control.begin()
        control.cancel()
        #expect(!control.tryEnd() && control.isRequested)
    }

    @Test func aStopBeforeTheFirstTokenRollsTheTurnBack() throws {
        let fresh = try spoken(Golden.a).ask("Hello!")
        let session = try spoken(Golden.a)
        for steps in [0, 1, 4, 9] {
            try session.feed(text: "Something else")
            try session.endTurn()
            for _ in 0..<steps { _ = try session.step() }
            try #require(session.usage.generatedTokens == 0)
            session.control.stop()
            #expect(try session.step() == .end)
            #expect(session.usage.stop == .stopped)
        }
        #expect(try session.ask("Hello!") == fresh)
    }

    @Test func aCancelAfterAStopWins() throws {
        let fresh = try spoken(Golden.a).ask("Hello!")
        let session = try spoken(Golden.a)
        try session.feed(text: "Something else")
        try session.endTurn()
        while session.usage.generatedTokens < 2 { _ = try session.step() }
        session.control.stop()
        session.control.cancel()
        session.control.stop()
        #expect(try session.step() == .end)
        #expect(session.usage.stop == .cancelled)
        #expect(try session.ask("Hello!") == fresh)
    }

    /// Requests from another thread come at any moment, also within a step. The turn ends once.
    @Test func requestsFromAnotherThreadEndTheTurnOnce() throws {
        let golden = Golden.a
        let fresh = try golden.session { $0.maxNewTokens = 400 }.ask("And now?").tokens
        for round in 0..<30 {
            let session = try golden.session { $0.maxNewTokens = 400 }
            try session.feed(text: "Something else")
            try session.endTurn()
            let control = session.control
            let isStop = round % 2 == 0
            let thread = Thread {
                usleep(UInt32(round * 150))
                if isStop { control.stop() } else { control.cancel() }
            }
            thread.start()
            let outcome = try session.finish()
            #expect(outcome.ends == 1)
            while !thread.isFinished { usleep(100) }
            if outcome.stop == .cancelled {
                #expect(try session.ask("And now?").tokens == fresh)
            } else {
                #expect(outcome.stop == .stopped || outcome.stop == .length || outcome.stop == .endOfAnswer)
                #expect(try session.ask("And now?").ends == 1)
            }
        }
    }
}
