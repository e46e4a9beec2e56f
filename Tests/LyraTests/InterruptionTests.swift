import CInterruption
import CKernels
import Foundation
@testable import LyraBase
import Synchronization
import TestSupport
import Testing

@testable import Lyra

/// A turn that is cancelled within a step, at any of its checks for interruption.
@Suite(.serialized) struct InterruptionTests {
    /// Cancels a turn at its n-th check.
    private enum Checks {
        static let word = Atomic<UInt>(0)
        static let left = Atomic<Int>(.max)
        static let made = Atomic<Int>(0)
        nonisolated(unsafe) static var control: TurnControl?

        static func watch(_ control: TurnControl, cancelAt number: Int) {
            self.control = control
            word.store(UInt(bitPattern: control.interruption.address), ordering: .sequentiallyConsistent)
            left.store(number, ordering: .sequentiallyConsistent)
            made.store(0, ordering: .sequentiallyConsistent)
            lk_on_check { address in
                guard UInt(bitPattern: address) == Checks.word.load(ordering: .relaxed) else { return }
                Checks.made.add(1, ordering: .relaxed)
                if Checks.left.subtract(1, ordering: .relaxed).newValue == 0 { Checks.control?.cancel() }
            }
        }

        static func end() { lk_on_check(nil) }
    }

    private func spoken(_ golden: Golden, _ type: KeyValueType = .float32) throws -> Session {
        try golden.session {
            ($0.speaks, $0.maxNewTokens, $0.keyValueType) = (true, 5, type)
            ($0.sampling, $0.temperature, $0.topK, $0.topP, $0.seed) = (.random, 1.5, 0, 1, 5)
        }
    }

    /// A picture, a sound, a recording and text.
    private func feedAll(_ session: Session, _ golden: Golden) throws {
        try session.feed(.image(.pixels(golden.image("image_small"))))
        let sound = try golden.sound("sound_bells")
        try session.feed(.sound(.samples(sound, sampleRate: 16_000)))
        try session.feed(pcm: golden.shortRecording)
        try session.feed(text: "What is said?")
    }

    private func cached(_ session: Session) throws -> [[UInt8]] {
        var all: [[UInt8]] = []
        for cache in session.conversation.caches { try cache.forEachPiece { all.append(Array($0)) } }
        return all
    }

    /// A turn makes thousands of checks; it is cancelled at a sample of them, and leaves the session as before.
    @Test(arguments: [KeyValueType.float32, .int8])
    func aTurnCancelledAtAnyCheckLeavesNoTrace(_ type: KeyValueType) throws {
        defer { Checks.end() }
        let golden = Golden.a
        let session = try spoken(golden, type)
        _ = try session.ask("Hello!")
        let before = try cached(session), mark = session.conversation.mark()
        try feedAll(session, golden)
        Checks.watch(session.control, cancelAt: .max)
        let wanted = try session.outcome()
        let checks = Checks.made.load(ordering: .relaxed)
        Checks.end()
        try #require(!wanted.audio.isEmpty && checks > 1000)
        session.conversation.restore(mark)
        #expect(try cached(session) == before)
        var phases: Set<Int32> = []
        // An odd stride, so that checks of every kind are in the sample.
        for (round, check) in stride(from: 1, to: checks - 50, by: checks / 18 | 1).enumerated() {
            try feedAll(session, golden)
            Checks.watch(session.control, cancelAt: check)
            try session.endTurn()
            var events = SessionEvents()
            while !events.contains(.end) {
                phases.insert(session.progress.phase.rawValue)
                events = try session.step()
            }
            Checks.end()
            #expect(session.usage.stop == .cancelled, "check \(check) of \(checks)")
            #expect(session.readText().isEmpty && session.readAudio().isEmpty)
            #expect(session.readTokens().isEmpty && session.readUnits().isEmpty)
            #expect(try cached(session) == before, "check \(check) of \(checks)")
            if round % 8 == 0 {
                try feedAll(session, golden)
                #expect(try session.outcome() == wanted, "after a cancel at check \(check) of \(checks)")
                session.conversation.restore(mark)
            }
        }
        #expect(phases == [1, 2, 3])
    }

    /// A step that works ahead on a cancelled turn throws.
    @Test func aTurnCancelledWhileStepsWorkAheadIsDiscarded() throws {
        defer { Checks.end() }
        let golden = Golden.b
        let session = try golden.session { ($0.adapter, $0.maxNewTokens) = (.named("speech"), 3) }
        let wanted = try session.ask("Hello!")
        try session.reset()
        for check in stride(from: 1, to: 200, by: 13) {
            try session.feed(pcm: golden.longRecording)
            Checks.watch(session.control, cancelAt: check)
            expect(.state) { while try session.step().contains(.progress) {} }
            Checks.end()
            #expect(session.conversation.length == 0)
        }
        #expect(try session.ask("Hello!") == wanted)
    }

    /// After the request, each thread only finishes what it had begun.
    @Test func fewChecksFollowTheRequest() throws {
        defer { Checks.end() }
        let golden = Golden.a, session = try spoken(golden)
        for check in [5, 50, 500, 1500] {
            try feedAll(session, golden)
            Checks.watch(session.control, cancelAt: check)
            _ = try session.outcome()
            Checks.end()
            #expect(session.usage.stop == .cancelled)
            #expect(Checks.made.load(ordering: .relaxed) - check <= 8 * Int(lk_threads()))
        }
    }

    /// Once the answer has begun, a stop no longer interrupts a step, so the first token is kept.
    @Test func aStopInterruptsOnlyBeforeTheFirstToken() {
        let control = TurnControl()
        control.begin()
        control.stop()
        #expect(control.current == .stopAtOnce)
        control.beginAnswer()
        #expect(control.current == .stopRequested && control.interruption.value < LK_INTERRUPTED)
        control.cancel()
        #expect(control.current == .cancelRequested && control.interruption.value >= LK_INTERRUPTED)
        control.end()
        control.begin()
        control.beginAnswer()
        control.stop()
        #expect(control.current == .stopRequested)
        control.end()
        control.begin()
        control.beginAnswer()
        #expect(control.tryEnd() && control.current == .idle)
    }
}
