import Testing

@testable import Lyra

/// The events of an answer hold what `step` and the read functions give.
@Suite struct AnswerEventTests {
    private func fed() throws -> Session {
        let session = try Golden.a.session { ($0.speaks, $0.maxNewTokens) = (true, 6) }
        try session.feed(pcm: Golden.a.shortRecording)
        try session.feed(text: "What is said?")
        return session
    }

    /// What a sequence of events contained, and the phases of its progress.
    private struct Received: Equatable {
        var text = ""
        var audio: [Float] = []
        var phases: Set<Int32> = []
        var ends: [StopReason] = []

        mutating func take(_ event: AnswerEvent) {
            switch event {
            case .progress(let progress): phases.insert(progress.phase.rawValue)
            case .text(let new): text += new
            case .audio(let samples): audio += samples
            case .end(let usage): ends.append(usage.stop)
            }
        }
    }

    @Test func synchronousAndAsynchronousEventsGiveTheAnswer() async throws {
        let wanted = try fed().outcome()
        var plain = Received(), asynchronous = Received()
        var events = try fed().answer().makeIterator()
        while let event = try events.next() { plain.take(event) }
        #expect(try events.next() == nil)
        for try await event in try fed().answer() { asynchronous.take(event) }
        #expect(plain == asynchronous)
        #expect(Array(plain.text.utf8) == wanted.text && plain.audio == wanted.audio && plain.ends == [wanted.stop])
        #expect(plain.phases.isSuperset(of: [1, 2]))
    }

    @Test func aNewIteratorContinuesTheAnswer() throws {
        let wanted = try fed().outcome(), session = try fed()
        var received = Received()
        var events = try session.answer().makeIterator()
        while received.ends.isEmpty {
            for _ in 0..<3 { if received.ends.isEmpty, let event = try events.next() { received.take(event) } }
            // The next iterator gives what this one left unread.
            if session.isAnswering { events = try session.answer().makeIterator() }
        }
        #expect(Array(received.text.utf8) == wanted.text && received.audio == wanted.audio)
        #expect(received.ends == [wanted.stop])
    }

    /// Wherever an iteration is left, the next one gives what is missing, the end included.
    @Test func anAnswerThatIsLeftAfterEveryEventLosesNothing() throws {
        let wanted = try fed().outcome(), session = try fed()
        var received = Received()
        while received.ends.isEmpty {
            var events = try session.answer().makeIterator()
            received.take(try #require(try events.next()))
        }
        #expect(Array(received.text.utf8) == wanted.text && received.audio == wanted.audio)
        #expect(received.ends == [wanted.stop])
        expect(.state) { _ = try session.answer() }
    }

    @Test func anEndThatWasNotDeliveredIsForgottenWithTheNextTurn() throws {
        let session = try fed()
        var events = try session.answer().makeIterator()
        while session.isAnswering { _ = try events.next() }
        #expect(session.isEndPending)
        try session.feed(text: "And now?")
        var received = Received(), next = try session.answer().makeIterator()
        while let event = try next.next() { received.take(event) }
        #expect(received.phases.contains(2) && received.ends == [session.usage.stop])
        #expect(try events.next() == nil, "the first iteration has nothing left to give")
    }

    @Test func aCancelledAnswerEndsOnce() throws {
        let session = try fed()
        var events = try session.answer().makeIterator(), received = Received()
        for _ in 0..<5 { if let event = try events.next() { received.take(event) } }
        session.control.cancel()
        while let event = try events.next() { received.take(event) }
        #expect(received.ends == [.cancelled])
    }

    @Test func anErrorEndsTheEvents() throws {
        let session = try Golden.a.session { $0.maxContextTokens = 4 }
        expect(.state) { _ = try session.answer() }
        try session.feed(text: "What is said?")
        var events = try session.answer().makeIterator()
        expect(.memory) { while try events.next() != nil {} }
        #expect(try events.next() == nil)
        #expect(!session.isAnswering && session.usage.stop == .failed)
    }
}
