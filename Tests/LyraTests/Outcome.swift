import LyraBase
import Testing

@testable import Lyra

/// Everything that was read from a turn.
struct Outcome: Equatable {
    var tokens: [Int32] = []
    var units: [Int32] = []
    var audio: [Float] = []
    var text: [UInt8] = []
    var stop = StopReason.none
    var ends = 0
    var steps = 0
}

extension Session {
    /// Ends the user's turn, steps to the end of the answer, and reads after every step.
    ///
    /// - Parameter before: called with the number of steps done, before each
    func outcome(before: (Int) throws -> Void = { _ in }) throws -> Outcome {
        try endTurn()
        return try finish(before: before)
    }

    /// Steps the turn in progress to its end.
    func finish(before: (Int) throws -> Void = { _ in }) throws -> Outcome {
        var outcome = Outcome()
        while outcome.ends == 0 {
            try before(outcome.steps)
            let events = try step()
            outcome.steps += 1
            if events.contains(.end) { outcome.ends += 1 }
            let (text, audio) = (readText(), readAudio())
            #expect(events.contains(.end) || events.contains(.text) == !text.isEmpty)
            #expect(events.contains(.end) || events.contains(.audio) == !audio.isEmpty)
            outcome.text += text
            outcome.audio += audio
            outcome.tokens += readTokens()
            outcome.units += readUnits()
        }
        outcome.stop = usage.stop
        #expect(!isAnswering)
        expect(.state) { _ = try step() }
        return outcome
    }

    func feed(pcm samples: [Float], sampleRate: Int = 16000) throws {
        try feed(.speech(.samples(samples, sampleRate: sampleRate)))
    }

    /// A turn of a recording, if there is one, and a text.
    func ask(_ text: String, hearing pcm: [Float]? = nil) throws -> Outcome {
        if let pcm { try feed(pcm: pcm) }
        try feed(text: text)
        return try outcome()
    }
}

/// The error that `body` throws; records an issue when it throws none, or one of another type.
func lyraError(at location: SourceLocation = #_sourceLocation, _ body: () throws -> Void) -> LyraError {
    do {
        try body()
        Issue.record("no error was thrown", sourceLocation: location)
    } catch let error as LyraError {
        return error
    } catch {
        Issue.record("not a LyraError: \(error)", sourceLocation: location)
    }
    return LyraError(.closed, "")
}

/// Checks that `body` throws a LyraError of this kind whose message contains all of `parts`.
func expect(
    _ code: LyraError.Code, _ parts: String..., at location: SourceLocation = #_sourceLocation,
    _ body: () throws -> Void
) {
    let error = lyraError(at: location, body)
    #expect(error.code == code, "\(error.message)", sourceLocation: location)
    for part in parts { #expect(error.message.contains(part), "\(error.message)", sourceLocation: location) }
}
