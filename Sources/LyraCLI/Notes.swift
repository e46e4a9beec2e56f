import Glibc
import Synchronization

/// Messages for the user on stderr, from opening a model and from its sessions.
final class Notes: Sendable {
    enum Handling {
        case shown
        /// Kept until `show` is called.
        case held
        case dropped
    }

    private let state: Mutex<(handling: Handling, held: [String])>

    /// - Parameter handling: handling of notes until `show` is called
    init(_ handling: Handling) { state = Mutex((handling, [])) }

    func add(_ note: String) {
        let isShown = state.withLock { state in
            if state.handling == .held { state.held.append(note) }
            return state.handling == .shown
        }
        if isShown { print(note) }
    }

    /// Prints the held notes, and from now on every note at once.
    func show() {
        let held = state.withLock { state in
            defer { state = (.shown, []) }
            return state.held
        }
        for note in held { print(note) }
    }

    /// Erases a progress bar on the line first; the bar redraws itself when it changes.
    private func print(_ note: String) {
        printError((isatty(STDERR_FILENO) == 1 ? "\r\u{1b}[K" : "") + "note: " + note)
    }
}
