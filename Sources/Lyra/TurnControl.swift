import LyraBase

/// How other threads ask a session's turn to end.
///
/// Its state is the word that interrupts the session's work. A cancel ends the step in progress, within a matrix
/// product if need be; a stop, which keeps the generated text, lets that step finish.
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
        /// End before anything was generated.
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

    /// Ends the turn in progress and keeps what was generated; its speech is completed first. A second call ends the
    /// turn without completing the speech. From any thread; without a turn in progress it does nothing.
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

    /// Rolls the turn in progress back. From any thread; without a turn in progress it does nothing.
    public func cancel() { change { $0 == .idle ? nil : .cancelRequested } }

    /// A turn begins; a request that came for it already stays.
    func begin() { change { $0 == .idle ? .active : nil } }

    /// The answer has its first token: from now on a stop keeps the answer.
    func beginAnswer() {
        change { state in
            switch state {
            case .active: .answering
            case .stopAtOnce: .stopRequested
            default: nil
            }
        }
    }

    /// A stop is obeyed: speech is completed, unless a further request came meanwhile.
    func beginFinishing() { change { $0 == .stopRequested ? .finishing : nil } }

    /// Ends a turn whose answer is complete.
    ///
    /// - Returns: false if a request came meanwhile, which then has to be obeyed
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
