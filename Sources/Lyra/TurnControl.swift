import LyraBase

/// Lets other threads end a session's turn.
///
/// The state is the value of the `Interruption` that long loops check. A cancel interrupts the step in progress, even
/// within a matrix product. A stop lets the step finish and keeps the generated text.
public final class TurnControl: Sendable {
    enum State: Int32 {
        case idle = 0
        case active = 1
        /// An answer is in progress and has at least one token.
        case answering = 2
        /// End after the speech of the generated text is completed.
        case stopRequested = 3
        /// Stopped: no further tokens; the speech of the generated text is being completed.
        case finishing = 4
        /// End at once and keep the generated text.
        case endRequested = 5
        // Values from `LK_INTERRUPTED`, 16, on interrupt the step in progress.

        /// Stop before the first token: there is nothing to keep.
        case stopAtOnce = 16
        case cancelRequested = 17

        /// Why the turn is to end; nil if its end is not requested.
        var endReason: StopReason? {
            switch self {
            case .idle, .active, .answering, .finishing: nil
            case .stopRequested, .endRequested, .stopAtOnce: .stopped
            case .cancelRequested: .cancelled
            }
        }
    }

    let interruption = Interruption()

    var current: State { State(rawValue: interruption.value) ?? .idle }

    /// Whether another thread has requested an end that the session has not obeyed yet.
    var isRequested: Bool { current.endReason != nil }

    /// Ends the turn in progress and keeps the generated text, after completing its speech. A second call ends the turn
    /// without completing the speech. May be called from any thread; does nothing without a turn in progress.
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

    /// Rolls back the turn in progress. May be called from any thread; does nothing without a turn in progress.
    public func cancel() { change { $0 == .idle ? nil : .cancelRequested } }

    /// Begins a turn; keeps a request that has already arrived.
    func begin() { change { $0 == .idle ? .active : nil } }

    /// Marks the first token of the answer: from now on a stop keeps the answer.
    func beginAnswer() {
        change { state in
            switch state {
            case .active: .answering
            case .stopAtOnce: .stopRequested
            default: nil
            }
        }
    }

    /// Obeys a stop: speech is completed, unless a further request has arrived.
    func beginFinishing() { change { $0 == .stopRequested ? .finishing : nil } }

    /// Ends a turn whose answer is complete.
    ///
    /// - Returns: false if a request has arrived, which must be obeyed first
    func tryEnd() -> Bool {
        change { state in
            switch state {
            case .active, .answering, .finishing: .idle
            default: nil
            }
        }
    }

    func end() { interruption.value = State.idle.rawValue }

    /// Changes to the state that `next` returns for the current one; nil changes nothing. → whether the state changed
    @discardableResult
    private func change(_ next: (State) -> State?) -> Bool {
        while true {
            let before = current
            guard let after = next(before) else { return false }
            if interruption.replace(before.rawValue, by: after.rawValue) { return true }
        }
    }
}
