import LyraBase

/// How other threads ask a session's turn to end.
///
/// Its state is the word that interrupts the session's work: a turn that is to be taken back ends within the step in
/// progress, also in the midst of a product; one that keeps what was said ends after that step.
public final class TurnControl: Sendable {
    enum State: Int32 {
        case idle = 0
        case active = 1
        /// An answer is in progress and has at least one token.
        case answering = 2
        /// End after the generated text is spoken.
        case stopRequested = 3
        /// Stopped: no further token is generated, and the speech of the generated text is completed.
        case finishing = 4
        /// End now and keep the generated text.
        case endRequested = 5
        /// To end before anything was said.
        case stopAtOnce = 16
        case cancelRequested = 17

        var asksForEnd: Bool {
            switch self {
            case .idle, .active, .answering, .finishing: false
            case .stopRequested, .endRequested, .stopAtOnce, .cancelRequested: true
            }
        }
    }

    let interruption = Interruption()

    var current: State { State(rawValue: interruption.value) ?? .idle }

    /// Whether another thread asked for the turn to end, and the session has not obeyed yet.
    var isRequested: Bool { current.asksForEnd }

    /// Asks the turn in progress to end, keeping what was said: the speech of those words is completed first. Asked a
    /// second time, it ends without that. From any thread; nothing in progress is fine.
    public func stop() {
        change { state in
            switch state {
            case .active: .stopAtOnce
            case .answering: .stopRequested
            case .stopRequested, .finishing: .endRequested
            case .idle, .endRequested, .stopAtOnce, .cancelRequested: nil
            }
        }
    }

    /// Asks for the turn in progress to be taken back. From any thread; nothing in progress is fine.
    public func cancel() { change { $0 == .idle ? nil : .cancelRequested } }

    /// A turn begins; a request that came for it already stays.
    func begin() { change { $0 == .idle ? .active : nil } }

    /// Something was said: from now on a stop keeps it.
    func beginAnswer() {
        change { state in
            switch state {
            case .active: .answering
            case .stopAtOnce: .stopRequested
            default: nil
            }
        }
    }

    /// A stop is heeded: speech is completed, unless a further request came meanwhile.
    func beginFinishing() { change { $0 == .stopRequested ? .finishing : nil } }

    /// Ends a turn that nobody asks to end any more; false if somebody does, which then has to be obeyed.
    func tryEnd() -> Bool {
        change { state in
            switch state {
            case .active, .answering, .finishing: .idle
            default: nil
            }
        }
    }

    func end() { interruption.value = State.idle.rawValue }

    /// Goes to the state that `next` gives for the current one; nil stays. → whether it changed
    @discardableResult
    private func change(_ next: (State) -> State?) -> Bool {
        while true {
            let before = current
            guard let after = next(before) else { return false }
            if interruption.replace(before.rawValue, by: after.rawValue) { return true }
        }
    }
}
