import LyraBase
import LyraModel
import LyraTensor

extension Session {
    /// Steps several sessions of one model, as `step` does each; those that generate tokens or speech units are computed
    /// together, so that the weights are read once for all of them. A session's results are its own: those of `step`, up
    /// to the order of sums.
    ///
    /// A call gives each session at most one piece of the waveform, one token and one token's units. Sessions may be in
    /// any state, join and leave from call to call, and differ in length, adapter, sampling and cache. An error in one
    /// leaves the others alone. `control` works as with `step`.
    ///
    /// - Parameter sessions: different sessions of one model
    /// - Returns: for each session, what `step` would return or throw
    /// - Throws: `LyraError.argument` if a session is named twice, or if models differ; no session has then been stepped.
    public static func step(_ sessions: [Session]) throws -> [Result<SessionEvents, any Error>] {
        guard Set(sessions.map { ObjectIdentifier($0) }).count == sessions.count else {
            throw LyraError(.argument, "a session is named twice; name each once")
        }
        guard sessions.allSatisfy({ $0.model === sessions[0].model }) else {
            throw LyraError(.argument, "the sessions are of different models; step those of one model together")
        }
        var steps = SharedSteps(sessions)
        steps.run()
        return steps.results
    }
}

/// A step of several sessions of one model.
private struct SharedSteps {
    let sessions: [Session]
    /// What each session's step gave so far; nil before its first.
    private var outcomes: [Result<SessionEvents, any Error>?]

    init(_ sessions: [Session]) {
        self.sessions = sessions
        outcomes = sessions.map { _ in nil }
    }

    var results: [Result<SessionEvents, any Error>] { outcomes.map { $0 ?? .success([]) } }

    mutating func run() {
        // What cannot be shared: reading a prompt, the first token, the waveform; and errors.
        for index in sessions.indices where !sessions[index].canShareStep { stepAlone(index) }
        decodeTogether()
        speakTogether()
    }

    /// Sessions that may go on: a step of theirs has neither failed nor ended the turn.
    private func goingOn(_ index: Int) -> Bool {
        guard let outcome = outcomes[index] else { return true }
        if case .success(let events) = outcome { return !events.contains(.end) }
        return false
    }

    private mutating func stepAlone(_ index: Int) { add(Result { try sessions[index].step() }, to: index) }

    private mutating func add(_ outcome: Result<SessionEvents, any Error>, to index: Int) {
        let before = (try? outcomes[index]?.get()) ?? []
        outcomes[index] = outcome.map { $0.union(before) }
    }

    private mutating func decodeTogether() {
        let due = sessions.indices.filter { goingOn($0) && sessions[$0].sharedToken != nil }
        let tokens = due.compactMap { sessions[$0].sharedToken }
        guard due.count > 1 else { return due.forEach { stepAlone($0) } }
        let start = MonotonicTime.milliseconds
        let made = together(due) { isInterrupted in
            try sessions[0].model.checkpoint.decoder.decode(tokens, isInterrupted: isInterrupted)
        }
        guard let made else { return due.forEach { stepAlone($0) } }
        let milliseconds = MonotonicTime.milliseconds - start
        for (row, index) in due.enumerated() {
            let range = row..<row + 1
            add(
                Result {
                    try sessions[index].continueShared(
                        made.hidden.rows(range), made.logits.rows(range), milliseconds: milliseconds)
                }, to: index)
        }
    }

    private mutating func speakTogether() {
        let due = sessions.indices.filter { goingOn($0) && sessions[$0].sharedRow != nil }
        guard due.count > 1 else { return due.forEach { stepAlone($0) } }
        let made = together(due) { _ in try Answer.makeUnitsTogether(due.compactMap { sessions[$0].currentAnswer }) }
        guard let made else { return due.forEach { stepAlone($0) } }
        for (made, index) in zip(made, due) { add(Result { try sessions[index].takeUnits(made) }, to: index) }
    }

    /// Computes for several sessions. If that fails, or a session's turn is to end at once, nothing has happened, and
    /// each session steps alone, which tells whose error it is. → nil then
    private func together<R>(_ due: [Int], _ body: (_ isInterrupted: () -> Bool) throws -> R) -> R? {
        try? Interruption.never {
            try body { due.contains { sessions[$0].control.interruption.isRaised } }
        }
    }
}
