import Testing

@testable import Lyra

/// An answer as a sequence of events is the answer that steps give.
@Suite struct AnswerEventTests {
    private func fed() throws -> Session {
        let session = try Golden.a.session { ($0.speaks, $0.maxNewTokens) = (true, 6) }
        try session.feed(pcm: Golden.a.shortRecording)
        try session.feed(text: "What is said?")
        return session
    }

    /// What events came to, and in which phases.
    private struct Heard: Equatable {
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

    @Test func theEventsAreTheAnswerInBothForms() async throws {
        let wanted = try fed().outcome()
        var plain = Heard(), asynchronous = Heard()
        var events = try fed().answer().makeIterator()
        while let event = try events.next() { plain.take(event) }
        #expect(try events.next() == nil)
        for try await event in try fed().answer() { asynchronous.take(event) }
        #expect(plain == asynchronous)
        #expect(Array(plain.text.utf8) == wanted.text && plain.audio == wanted.audio && plain.ends == [wanted.stop])
        #expect(plain.phases.isSuperset(of: [1, 2]))
    }

    @Test func anAnswerThatWasLeftIsGoneOnWith() throws {
        let wanted = try fed().outcome(), session = try fed()
        var heard = Heard()
        var events = try session.answer().makeIterator()
        while heard.ends.isEmpty {
            for _ in 0..<3 { if heard.ends.isEmpty, let event = try events.next() { heard.take(event) } }
            // The next iterator gives what this one left unread.
            if session.isAnswering { events = try session.answer().makeIterator() }
        }
        #expect(Array(heard.text.utf8) == wanted.text && heard.audio == wanted.audio && heard.ends == [wanted.stop])
    }

    @Test func aCancelledAnswerEndsOnce() throws {
        let session = try fed()
        var events = try session.answer().makeIterator(), heard = Heard()
        for _ in 0..<5 { if let event = try events.next() { heard.take(event) } }
        session.control.cancel()
        while let event = try events.next() { heard.take(event) }
        #expect(heard.ends == [.cancelled])
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
