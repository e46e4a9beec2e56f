import LyraTensor

/// How other threads ask a session's turn to end.
///
/// Its state is the word that interrupts the session's work: a turn that is to be taken back ends within the step in progress,
/// also in the midst of a product; one that keeps what was said ends with it.
public final class TurnControl: Sendable {
    enum State: Int32 {
        case idle = 0
        case active = 1
        /// Active, and something was said.
        case answering = 2
        /// To end keeping what was said.
        case stopRequested = 3
        /// To end before anything was said.
        case stopAtOnce = 16
        case cancelRequested = 17
    }

    let interruption = Interruption()

    var current: State { State(rawValue: interruption.value) ?? .idle }

    /// Whether another thread asked for the turn to end, in either way.
    var isRequested: Bool {
        switch current {
        case .idle, .active, .answering: false
        case .stopRequested, .stopAtOnce, .cancelRequested: true
        }
    }

    private func change(_ old: State, to new: State) -> Bool { interruption.replace(old.rawValue, by: new.rawValue) }

    /// Asks the turn in progress to end, keeping what was said. From any thread; nothing in progress is fine.
    public func stop() {
        // The first word may be said meanwhile.
        _ = change(.active, to: .stopAtOnce) || change(.answering, to: .stopRequested)
    }

    /// Asks for the turn in progress to be taken back. From any thread; nothing in progress is fine.
    public func cancel() {
        // In the order in which a turn goes from one to the next.
        for before in [State.active, .stopAtOnce, .answering, .stopRequested] {
            if change(before, to: .cancelRequested) { return }
        }
    }

    /// A turn begins; a request that came for it already stays.
    func begin() { _ = change(.idle, to: .active) }

    /// Something was said: from now on a stop keeps it.
    func beginAnswer() { _ = change(.active, to: .answering) || change(.stopAtOnce, to: .stopRequested) }

    /// Ends a turn that nobody asked to end; false if somebody did, which then has to be obeyed.
    func tryEnd() -> Bool { change(.answering, to: .idle) || change(.active, to: .idle) }

    func end() { interruption.value = State.idle.rawValue }
}
