/// An event during an answer.
public enum AnswerEvent: Sendable {
    /// A step without new text or audio: encoding, prefill, or other work on the answer.
    case progress(SessionProgress)
    /// The next text, in whole characters.
    case text(String)
    /// The next samples: mono, at the model's `audioSampleRate`.
    case audio([Float])
    /// The turn is over. `usage.stop` says why.
    case end(Usage)
}

/// The answer to a turn. Each iteration runs one `Session.step`.
///
///     var answer = try session.answer().makeIterator()
///     while let event = try answer.next() { … }
///
/// In asynchronous code, other tasks can run between the steps:
///
///     for try await event in try session.answer() { … }
///
/// `Session.control` stops or cancels the answer; the iteration then ends with `.end`. Leaving the iteration early
/// loses nothing: another `Session.answer()` continues with the next event.
public struct AnswerEvents: AsyncSequence {
    let session: Session

    public func makeIterator() -> Iterator { Iterator(session) }

    public func makeAsyncIterator() -> AsyncIterator { AsyncIterator(base: Iterator(session)) }

    /// Iterates over the events synchronously.
    public struct Iterator {
        private let session: Session
        /// Whether the iteration has returned `.end` or thrown.
        private var isExhausted = false

        fileprivate init(_ session: Session) { self.session = session }

        /// Returns the next event after at most one step; nil after `.end`.
        ///
        /// - Throws: any error of `Session.step`. The turn is then rolled back and has ended.
        public mutating func next() throws -> AnswerEvent? {
            if let output = readOutput() { return output }
            guard !isExhausted else { return nil }
            if session.isEndPending { return end() }
            guard session.isAnswering else {
                // Another iteration has delivered the end.
                isExhausted = true
                return nil
            }
            do { session.isEndPending = try session.step().contains(.end) } catch {
                isExhausted = true
                throw error
            }
            if let output = readOutput() { return output }
            return session.isEndPending ? end() : .progress(session.progress)
        }

        private mutating func end() -> AnswerEvent {
            session.isEndPending = false
            isExhausted = true
            return .end(session.usage)
        }

        /// Text or audio that is not read yet.
        private func readOutput() -> AnswerEvent? {
            if session.hasText { return .text(String(decoding: session.readText(), as: UTF8.self)) }
            let samples = session.readAudio()
            return samples.isEmpty ? nil : .audio(samples)
        }
    }

    /// Iterates over the events; other tasks can run before each step.
    public struct AsyncIterator: AsyncIteratorProtocol {
        fileprivate var base: Iterator

        public mutating func next() async throws -> AnswerEvent? {
            await Task.yield()
            return try base.next()
        }

        public mutating func next(isolation actor: isolated (any Actor)?) async throws -> AnswerEvent? {
            await Task.yield()
            return try base.next()
        }
    }
}

extension Session {
    /// Ends the user's turn and returns the events of its answer, which is computed as the events are iterated over. If
    /// an answer is already in progress, or its `.end` was not delivered yet, continues that answer.
    ///
    /// - Throws: `LyraError.state` if nothing was fed.
    public func answer() throws -> AnswerEvents {
        if !isAnswering, !isEndPending { try endTurn() }
        return AnswerEvents(session: self)
    }
}
