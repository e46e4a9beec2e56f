import Glibc
import Lyra
import Synchronization

/// Ctrl-C ends the answer and keeps what was said.
enum Interrupt {
    /// Set by the signal handler, which may do no more than that.
    private static let requested = Atomic<Bool>(false)

    /// The first Ctrl-C is noted; a second one ends the program.
    static func watch() {
        handle { _ in
            signal(SIGINT, SIG_DFL)
            Interrupt.requested.store(true, ordering: .relaxed)
        }
    }

    /// Every Ctrl-C is noted; none ends the program.
    static func watchAlways() { handle { _ in Interrupt.requested.store(true, ordering: .relaxed) } }

    private static func handle(_ handler: @escaping @convention(c) (Int32) -> Void) {
        _ = requested.load(ordering: .relaxed)  // made before a signal can come
        var action = sigaction()
        action.__sigaction_handler.sa_handler = handler
        // Without SA_RESTART: reading a line ends.
        sigaction(SIGINT, &action, nil)
    }

    static var isRequested: Bool { requested.load(ordering: .relaxed) }

    /// Forgets a Ctrl-C. → whether there was one
    @discardableResult
    static func clear() -> Bool { requested.exchange(false, ordering: .relaxed) }

    /// - Throws: `LyraError.state` once Ctrl-C was pressed: for work before the answer, of which there is nothing to keep
    static func check() throws {
        guard !isRequested else { throw LyraError(.state, "interrupted before the answer began") }
    }
}
