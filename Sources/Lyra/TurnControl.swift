import Synchronization

/// How other threads ask a session's turn to end.
public final class TurnControl: Sendable {
    enum State: UInt8 {
        case idle, active, stopRequested, cancelRequested
    }

    private let state = Atomic<UInt8>(State.idle.rawValue)

    var current: State { State(rawValue: state.load(ordering: .acquiring)) ?? .idle }

    /// Whether another thread asked for the turn to end, in either way.
    var isRequested: Bool { current == .stopRequested || current == .cancelRequested }

    /// Asks the turn in progress to end, keeping what was said. From any thread; nothing in progress is fine.
    public func stop() {
        _ = state.compareExchange(
            expected: State.active.rawValue, desired: State.stopRequested.rawValue, ordering: .acquiringAndReleasing)
    }

    /// Asks for the turn in progress to be taken back. From any thread; nothing in progress is fine.
    public func cancel() {
        for before in [State.active, .stopRequested] {
            _ = state.compareExchange(
                expected: before.rawValue, desired: State.cancelRequested.rawValue, ordering: .acquiringAndReleasing)
        }
    }

    /// A turn begins; a request that came for it already stays.
    func begin() {
        _ = state.compareExchange(
            expected: State.idle.rawValue, desired: State.active.rawValue, ordering: .acquiringAndReleasing)
    }

    /// Ends a turn that nobody asked to end; false if somebody did, which then has to be obeyed.
    func tryEnd() -> Bool {
        state.compareExchange(
            expected: State.active.rawValue, desired: State.idle.rawValue, ordering: .acquiringAndReleasing
        ).exchanged
    }

    func end() { state.store(State.idle.rawValue, ordering: .releasing) }
}
