import CInterruption
import CKernels
import Foundation
@testable import LyraBase
import Synchronization
import TestSupport
import Testing

@testable import Lyra

/// A turn that is cancelled in the midst of a step: at any look that the work takes at the session's word.
@Suite(.serialized) struct InterruptionTests {
    /// Cancels a turn at its n-th look.
    private enum Looks {
        static let word = Atomic<UInt>(0)
        static let left = Atomic<Int>(.max)
        static let taken = Atomic<Int>(0)
        nonisolated(unsafe) static var control: TurnControl?

        static func watch(_ control: TurnControl, cancelAt number: Int) {
            self.control = control
            word.store(UInt(bitPattern: control.interruption.address), ordering: .sequentiallyConsistent)
            left.store(number, ordering: .sequentiallyConsistent)
            taken.store(0, ordering: .sequentiallyConsistent)
            lk_on_check { address in
                guard UInt(bitPattern: address) == Looks.word.load(ordering: .relaxed) else { return }
                Looks.taken.add(1, ordering: .relaxed)
                if Looks.left.subtract(1, ordering: .relaxed).newValue == 0 { Looks.control?.cancel() }
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

    /// Every n-th look is tried: a turn takes some thousands. Afterwards the session is as if the turn had never been.
    @Test(arguments: [KeyValueType.float32, .int8])
    func aTurnCancelledAtAnyLookIsAsIfItHadNeverBeen(_ type: KeyValueType) throws {
        defer { Looks.end() }
        let golden = Golden.a
        let session = try spoken(golden, type)
        _ = try session.ask("Hello!")
        let before = try cached(session), mark = session.conversation.mark()
        try feedAll(session, golden)
        Looks.watch(session.control, cancelAt: .max)
        let wanted = try session.outcome()
        let looks = Looks.taken.load(ordering: .relaxed)
        Looks.end()
        try #require(!wanted.audio.isEmpty && looks > 1000)
        session.conversation.restore(mark)
        #expect(try cached(session) == before)
        var phases: Set<Int32> = []
        // A step that shares no factor with what repeats, so that looks of every kind are met.
        for (round, look) in stride(from: 1, to: looks - 50, by: looks / 18 | 1).enumerated() {
            try feedAll(session, golden)
            Looks.watch(session.control, cancelAt: look)
            try session.endTurn()
            var events = SessionEvents()
            while !events.contains(.end) {
                phases.insert(session.progress.phase.rawValue)
                events = try session.step()
            }
            Looks.end()
            #expect(session.usage.stop == .cancelled, "look \(look) of \(looks)")
            #expect(session.readText().isEmpty && session.readAudio().isEmpty)
            #expect(session.readTokens().isEmpty && session.readUnits().isEmpty)
            #expect(try cached(session) == before, "look \(look) of \(looks)")
            if round % 8 == 0 {
                try feedAll(session, golden)
                #expect(try session.outcome() == wanted, "after a cancel at look \(look) of \(looks)")
                session.conversation.restore(mark)
            }
        }
        #expect(phases == [1, 2, 3])
    }

    /// A step that works ahead says that the turn it worked on was cancelled.
    @Test func aTurnCancelledWhileStepsWorkAheadIsDropped() throws {
        defer { Looks.end() }
        let golden = Golden.b
        let session = try golden.session { ($0.adapter, $0.maxNewTokens) = (.named("speech"), 3) }
        let wanted = try session.ask("Hello!")
        try session.reset()
        for look in stride(from: 1, to: 200, by: 13) {
            try session.feed(pcm: golden.longRecording)
            Looks.watch(session.control, cancelAt: look)
            expect(.state) { while try session.step().contains(.progress) {} }
            Looks.end()
            #expect(session.conversation.length == 0)
        }
        #expect(try session.ask("Hello!") == wanted)
    }

    /// Between the request and the end of the step no more than what each thread had begun is computed.
    @Test func fewLooksFollowTheRequest() throws {
        defer { Looks.end() }
        let golden = Golden.a, session = try spoken(golden)
        for look in [5, 50, 500, 1500] {
            try feedAll(session, golden)
            Looks.watch(session.control, cancelAt: look)
            _ = try session.outcome()
            Looks.end()
            #expect(session.usage.stop == .cancelled)
            #expect(Looks.taken.load(ordering: .relaxed) - look <= 8 * Int(lk_threads()))
        }
    }

    /// The first word comes with its step; a stop after it keeps it, also one that came just before.
    @Test func aStopInterruptsOnlyWhatPrecedesTheFirstWord() {
        let control = TurnControl()
        control.begin()
        control.stop()
        #expect(control.current == .stopAtOnce)
        control.beginAnswer()
        #expect(control.current == .stopRequested && control.interruption.value < Interruption.raised)
        control.cancel()
        #expect(control.current == .cancelRequested && control.interruption.value >= Interruption.raised)
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
