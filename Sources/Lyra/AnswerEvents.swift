/// What happened while an answer was made.
public enum AnswerEvent: Sendable {
    /// A step was done: something was encoded or prefilled, or the answer went on without new text or audio.
    case progress(SessionProgress)
    /// The text that follows, whole characters only.
    case text(String)
    /// The samples that follow: mono, at the model's `audioSampleRate`.
    case audio([Float])
    /// The turn is over. `usage.stop` says why.
    case end(Usage)
}

/// The answer to a turn, made while it is iterated over, one `Session.step` at a time.
///
///     var answer = try session.answer().makeIterator()
///     while let event = try answer.next() { … }
///
/// or, from asynchronous code, where other tasks run between the steps:
///
///     for try await event in try session.answer() { … }
///
/// `Session.control` stops or cancels the answer; the iteration then ends with `.end`. Whoever leaves the iteration
/// early leaves the turn in progress: another `Session.answer()` goes on with it.
public struct AnswerEvents: AsyncSequence {
    let session: Session

    public func makeIterator() -> Iterator { Iterator(session) }

    public func makeAsyncIterator() -> AsyncIterator { AsyncIterator(base: Iterator(session)) }

    /// The events one after the other, for code that is not asynchronous.
    public struct Iterator {
        private let session: Session
        private var isEnded = false
        private var isOver = false

        fileprivate init(_ session: Session) { self.session = session }

        /// The next event, after one step at most; nil after `.end`.
        ///
        /// - Throws: what `Session.step` throws. The turn is then rolled back and over.
        public mutating func next() throws -> AnswerEvent? {
            if let output = readOutput() { return output }
            guard !isOver else { return nil }
            guard !isEnded else {
                isOver = true
                return .end(session.usage)
            }
            do { isEnded = try session.step().contains(.end) } catch {
                isOver = true
                throw error
            }
            if let output = readOutput() { return output }
            return isEnded ? try next() : .progress(session.progress)
        }

        /// Text or audio that was not read yet.
        private func readOutput() -> AnswerEvent? {
            if session.hasText { return .text(String(decoding: session.readText(), as: UTF8.self)) }
            let samples = session.readAudio()
            return samples.isEmpty ? nil : .audio(samples)
        }
    }

    /// The events one after the other; other tasks may run before each step.
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
    /// Ends the user's turn and answers it, as far as the events are iterated over. While an answer is being made
    /// already, goes on with that one.
    ///
    /// - Throws: `LyraError.state` if nothing was fed.
    public func answer() throws -> AnswerEvents {
        if !isAnswering { try endTurn() }
        return AnswerEvents(session: self)
    }
}
