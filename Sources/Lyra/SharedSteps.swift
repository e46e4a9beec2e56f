import LyraBase
import LyraModel
import LyraTensor

extension Session {
    /// Steps several sessions of one model, as `step` does each (batched decoding). Those that generate tokens or
    /// speech units are computed together: the weights are read once for all of them. A session's numbers are those
    /// of `step`, up to the order of sums.
    ///
    /// A call gives each session at most one piece of the waveform, one token and one token's units. Sessions may be in
    /// any state, join and leave from call to call, and differ in length, adapter, sampling and cache. An error in one
    /// leaves the others alone. `control` works as with `step`; a cancel takes effect at the next layer.
    ///
    /// - Parameter sessions: different sessions of one model
    /// - Returns: for each session, what `step` would return or throw
    /// - Throws: `LyraError.argument` if a session is named twice, or if models differ: no session has been stepped.
    public static func step(_ sessions: [Session]) throws -> [Result<SessionEvents, any Error>] {
        guard Set(sessions.map { ObjectIdentifier($0) }).count == sessions.count else {
            throw LyraError(.argument, "a session is named twice; name each once")
        }
        guard sessions.allSatisfy({ $0.model === sessions[0].model }) else {
            throw LyraError(.argument, "the sessions are of different models; step those of one model together")
        }
        let steps = SharedSteps(sessions)
        steps.run()
        return steps.results
    }
}

/// A step of several sessions of one model.
private final class SharedSteps {
    /// What a session has done in this step.
    private struct Progress {
        var outcome: Result<SessionEvents, any Error> = .success([])
        var hasToken = false
        var hasUnits = false

        /// Whether the session may go on: nothing has failed, or ended the turn.
        var goesOn: Bool { (try? outcome.get().contains(.end)) == false }
    }

    private let sessions: [Session]
    private var progress: [Progress]

    init(_ sessions: [Session]) {
        self.sessions = sessions
        progress = sessions.map { _ in Progress() }
    }

    var results: [Result<SessionEvents, any Error>] { progress.map(\.outcome) }

    func run() {
        // What cannot be shared: reading a prompt, the first token, the waveform; and errors.
        for index in sessions.indices where !sessions[index].canShareStep { stepAlone(index) }
        decodeTogether()
        speakTogether()
    }

    /// The sessions that may go on and for which `body` finds work, with the work. Found once: another thread may
    /// change what a session is to do at any time.
    private func due<Work>(_ body: (Int) -> Work?) -> [(index: Int, work: Work)] {
        sessions.indices.compactMap { index in
            guard progress[index].goesOn, let work = body(index) else { return nil }
            return (index, work)
        }
    }

    private func stepAlone(_ index: Int) {
        let before = sessions[index].generated
        take(Result { try sessions[index].step() }, index)
        let after = sessions[index].generated
        progress[index].hasToken = progress[index].hasToken || after.tokens > before.tokens
        progress[index].hasUnits = progress[index].hasUnits || after.rows > before.rows
    }

    private func take(_ outcome: Result<SessionEvents, any Error>, _ index: Int) {
        let before = (try? progress[index].outcome.get()) ?? []
        progress[index].outcome = outcome.map { $0.union(before) }
    }

    private func decodeTogether() {
        let due = due { progress[$0].hasToken ? nil : sessions[$0].sharedToken }
        share(due) { due, isInterrupted in
            let start = MonotonicTime.milliseconds
            let decoder = sessions[0].model.checkpoint.decoder
            let made = try decoder.decode(due.map(\.work), isInterrupted: isInterrupted)
            let each = (MonotonicTime.milliseconds - start) / Double(due.count)
            return due.indices.map { row in
                SharedDecoding(
                    row: made.hidden.rows(row..<row + 1), logits: made.logits.rows(row..<row + 1), milliseconds: each)
            }
        } take: { session, decoded in
            try session.continueShared(decoded)
        }
    }

    private func speakTogether() {
        let due = due { progress[$0].hasUnits ? nil : sessions[$0].sharedSpeech }
        share(due) { due, isInterrupted in
            try Answer.makeUnitsTogether(due.map(\.work), isInterrupted: isInterrupted)
        } take: { session, made in
            try session.takeUnits(made)
        }
    }

    /// Computes for several sessions, and gives each what was made of its work. Those whose turn is to end at once are
    /// left out. If the rest fails, nothing has happened, and each steps alone, which tells whose error it is.
    private func share<Work, Made>(
        _ all: [(index: Int, work: Work)],
        _ compute: ([(index: Int, work: Work)], _ isInterrupted: () -> Bool) throws -> [Made],
        take continue: (Session, Made) throws -> SessionEvents
    ) {
        var due = all
        while true {
            let ending = due.filter { sessions[$0.index].control.interruption.isRaised }
            for each in ending { stepAlone(each.index) }
            due.removeAll { each in ending.contains { $0.index == each.index } }
            guard due.count > 1 else { return due.forEach { stepAlone($0.index) } }
            let shared = due
            let isInterrupted = { [sessions] in
                shared.contains { sessions[$0.index].control.interruption.isRaised }
            }
            if let made = try? Interruption.never({ try compute(due, isInterrupted) }), made.count == due.count {
                for (made, each) in zip(made, due) {
                    take(Result { try `continue`(sessions[each.index], made) }, each.index)
                }
                return
            }
            guard isInterrupted() else { return due.forEach { stepAlone($0.index) } }
        }
    }
}
