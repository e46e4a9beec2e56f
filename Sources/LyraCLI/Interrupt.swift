import Glibc
import Lyra
import LyraBase
import LyraFormats
import Synchronization

/// Handles signals that end the program, and Ctrl-C, which can instead end just the answer and keep the text so far.
enum Interrupt {
    /// Set by the signal handler, which may not do more.
    private static let requested = Atomic<Bool>(false)
    /// File descriptor to which the signal handler `ending` writes signal numbers.
    private static let pipeEnd = Atomic<Int32>(-1)

    /// Removes unfinished files when a signal ends the program.
    ///
    /// A separate thread removes them, because a signal handler may not, and then raises the signal again with its
    /// default action.
    static func endCleanly() {
        var ends: [Int32] = [-1, -1]
        guard pipe(&ends) == 0 else { return }
        let reader = UnsafeMutableRawPointer(bitPattern: Int(ends[0]))
        var thread = pthread_t()
        var all = sigset_t(), usual = sigset_t()
        sigfillset(&all)
        pthread_sigmask(SIG_BLOCK, &all, &usual)  // signals must reach the main thread, to interrupt its reads
        let code = pthread_create(&thread, nil, Interrupt.awaitEnd, reader)
        pthread_sigmask(SIG_SETMASK, &usual, nil)
        guard code == 0 else { return }
        pthread_detach(thread)
        pipeEnd.store(ends[1], ordering: .relaxed)
        // Signals that the caller ignores, as nohup does, stay ignored.
        for number in [SIGINT, SIGTERM, SIGHUP] where !isIgnored(number) { handle(number, ending) }
    }

    private static func isIgnored(_ number: Int32) -> Bool {
        var action = sigaction()
        sigaction(number, nil, &action)
        // SIG_IGN is 1; Swift cannot compare it with a function.
        return unsafeBitCast(action.__sigaction_handler.sa_handler, to: Int.self) == 1
    }

    /// Reads a signal's number, removes unfinished files and lets the signal end the program.
    private static let awaitEnd: @convention(c) (UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? = { reader in
        var number: UInt8 = 0
        while read(Int32(Int(bitPattern: reader)), &number, 1) < 0 && errno == EINTR {}
        UnfinishedFiles.discardAll {
            signal(Int32(number), SIG_DFL)
            kill(getpid(), Int32(number))
            sleep(.max)
        }
        return nil
    }

    private static let ending: @convention(c) (Int32) -> Void = { number in
        let before = errno
        var byte = UInt8(truncatingIfNeeded: number)
        _ = Glibc.write(Interrupt.pipeEnd.load(ordering: .relaxed), &byte, 1)
        errno = before
    }

    /// Raised by a Ctrl-C that `watch` records: for computations that end in their middle.
    static let computation = Interruption()

    /// Records the first Ctrl-C; a second ends the program.
    static func watch() {
        computation.value = 0
        handle(SIGINT) { _ in
            signal(SIGINT, Interrupt.ending)
            Interrupt.computation.raise()
            Interrupt.requested.store(true, ordering: .relaxed)
        }
    }

    /// Records every Ctrl-C; none ends the program.
    static func watchAlways() { handle(SIGINT) { _ in Interrupt.requested.store(true, ordering: .relaxed) } }

    private static func handle(_ number: Int32, _ handler: @escaping @convention(c) (Int32) -> Void) {
        // Initializes the statics before a signal can arrive.
        _ = (requested.load(ordering: .relaxed), pipeEnd.load(ordering: .relaxed), ending)
        var action = sigaction()
        action.__sigaction_handler.sa_handler = handler
        // Without SA_RESTART, so that a signal interrupts reading a line.
        sigaction(number, &action, nil)
    }

    static var isRequested: Bool { requested.load(ordering: .relaxed) }

    /// Clears a recorded Ctrl-C. → whether there was one
    @discardableResult
    static func clear() -> Bool { requested.exchange(false, ordering: .relaxed) }

    /// - Throws: `LyraError.state` once Ctrl-C was pressed: for work before the answer, which leaves nothing to keep
    static func check() throws {
        guard !isRequested else { throw LyraError(.state, "interrupted before the answer began") }
    }
}
