import Glibc
import Lyra
import Synchronization

/// Ctrl-C ends the answer and keeps what was said; a second one ends the program.
enum Interrupt {
    /// Set by the signal handler, which may do no more than that.
    private static let requested = Atomic<Bool>(false)

    static func watch() {
        _ = requested.load(ordering: .relaxed)  // made before a signal can come
        signal(SIGINT) { _ in
            signal(SIGINT, SIG_DFL)
            Interrupt.requested.store(true, ordering: .relaxed)
        }
    }

    static var isRequested: Bool { requested.load(ordering: .relaxed) }

    /// - Throws: `LyraError.state` once Ctrl-C was pressed: for work before the answer, of which there is nothing to keep
    static func check() throws {
        guard !isRequested else { throw LyraError(.state, "interrupted before the answer began") }
    }
}
