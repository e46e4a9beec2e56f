import Glibc
import Lyra
import Synchronization

/// Cancels the turn if Ctrl-C is pressed during feeding, which interrupts reading a long file or waiting for a pipe.
final class FeedingWatch: Sendable {
    /// Polling interval in microseconds.
    private static let interval: UInt32 = 50_000

    private let control: TurnControl
    private let isOver = Mutex(false)

    private init(_ control: TurnControl) { self.control = control }

    /// Runs `body`, which feeds the session's turn.
    ///
    /// - Throws: any error of `body`; `LyraError.state` if Ctrl-C ended the feeding.
    static func during(feedingOf session: Session, _ body: () throws -> Void) throws {
        let watch = FeedingWatch(session.control)
        watch.start()
        defer { watch.isOver.withLock { $0 = true } }
        do { try body() } catch {
            try Interrupt.check()
            throw error
        }
    }

    /// Polls on a separate thread. If that thread cannot be created, Ctrl-C takes effect after feeding.
    private func start() {
        var thread = pthread_t()
        var all = sigset_t(), usual = sigset_t()
        sigfillset(&all)
        let held = Unmanaged.passRetained(self)
        pthread_sigmask(SIG_BLOCK, &all, &usual)  // signals are for the main thread
        let code = pthread_create(&thread, nil, Self.poll, held.toOpaque())
        pthread_sigmask(SIG_SETMASK, &usual, nil)
        if code == 0 { pthread_detach(thread) } else { held.release() }
    }

    private static let poll: @convention(c) (UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? = { held in
        guard let held else { return nil }
        let watch = Unmanaged<FeedingWatch>.fromOpaque(held).takeRetainedValue()
        while watch.cancelIfRequested() { usleep(interval) }
        return nil
    }

    /// Cancels the turn if Ctrl-C was pressed. → whether feeding continues
    private func cancelIfRequested() -> Bool {
        isOver.withLock { isOver in
            if !isOver, Interrupt.isRequested { control.cancel() }
            return !isOver
        }
    }
}
