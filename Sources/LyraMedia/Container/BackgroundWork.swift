import Glibc
import LyraBase
import Synchronization

/// Runs a call that cannot be interrupted, such as a decoder's, on a thread of its own. An interrupted caller abandons
/// the thread.
enum BackgroundWork {
    /// The most abandoned threads that may still work; a further call waits for one of them to end.
    static let maxAbandoned = 4

    /// The pixels of the smallest video frame that lyra decodes on a thread of its own. Smaller frames take a few ms.
    static let leastPixels = 1 << 19

    private static let abandoned = Mutex(0)

    /// Milliseconds between two calls of `interrupted`.
    private static let interval = 5

    /// Runs `work` on another thread and waits for it. When `interrupted` returns true, the call throws at once; the
    /// thread finishes `work` on its own and frees what it holds.
    ///
    /// - Parameters:
    ///   - interrupted: Called on the calling thread only.
    ///   - work: Must own everything that it uses; the caller must not touch any of that after an interruption. The
    ///     argument of `work` tells whether the result is no longer wanted. If no thread can be started, `work` runs on
    ///     the calling thread, with `interrupted` as the argument.
    /// - Throws: `LyraError(.state)` if interrupted, and what `work` throws.
    static func run<Result>(
        name: String, interrupted: () -> Bool, _ work: @escaping (_ isUnwanted: @escaping () -> Bool) throws -> Result
    ) throws -> Result {
        func stop() -> LyraError { LyraError(.state, "\(name): interrupted") }
        while abandoned.withLock({ $0 }) >= maxAbandoned {
            if interrupted() { throw stop() }
            usleep(UInt32(interval) * 1000)
        }
        if interrupted() { throw stop() }
        let job = Job(work)
        guard job.start() else { return try withoutActuallyEscaping(interrupted) { try work($0) } }
        while true {
            if let result = job.wait(milliseconds: interval) { return try result.get() }
            if interrupted() {
                if job.abandon() { throw stop() }
                // The work ended meanwhile: take its result.
                continue
            }
        }
    }

    /// The work and its result, shared by both threads.
    private final class Job<Result>: Runnable, @unchecked Sendable {
        private enum State { case working, done(Swift.Result<Result, any Error>), abandoned }

        private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
        private let ended = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
        private let isAbandoned = Atomic<Bool>(false)
        // The started thread owns `work`; the mutex guards `state`.
        private var work: ((_ isUnwanted: @escaping () -> Bool) throws -> Result)?
        private var state = State.working

        init(_ work: @escaping (_ isUnwanted: @escaping () -> Bool) throws -> Result) {
            self.work = work
            pthread_mutex_init(mutex, nil)
            var attributes = pthread_condattr_t()
            pthread_condattr_init(&attributes)
            pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC)
            pthread_cond_init(ended, &attributes)
            pthread_condattr_destroy(&attributes)
        }

        deinit {
            pthread_cond_destroy(ended)
            pthread_mutex_destroy(mutex)
            mutex.deallocate()
            ended.deallocate()
        }

        /// - Returns: false if no thread can be started.
        func start() -> Bool { BackgroundWork.startThread(self) }

        func run() {
            let result = Swift.Result { try finishWork() }
            pthread_mutex_lock(mutex)
            let wasAbandoned = if case .abandoned = state { true } else { false }
            if !wasAbandoned { state = .done(result) }
            pthread_cond_signal(ended)
            pthread_mutex_unlock(mutex)
            if wasAbandoned { BackgroundWork.abandoned.withLock { $0 -= 1 } }
        }

        /// Runs the work and frees what it holds, on this thread, before the caller sees the result.
        private func finishWork() throws -> Result {
            defer { work = nil }
            guard let work else { throw LyraError(.state, "background work was started twice") }
            return try work { self.isAbandoned.load(ordering: .relaxed) }
        }

        /// - Returns: nil if the work did not end in that time.
        func wait(milliseconds: Int) -> Swift.Result<Result, any Error>? {
            var until = timespec()
            clock_gettime(CLOCK_MONOTONIC, &until)
            until.tv_nsec += milliseconds * 1_000_000
            until.tv_sec += until.tv_nsec / 1_000_000_000
            until.tv_nsec %= 1_000_000_000
            pthread_mutex_lock(mutex)
            defer { pthread_mutex_unlock(mutex) }
            while case .working = state {
                if pthread_cond_timedwait(ended, mutex, &until) != 0 { break }
            }
            if case .done(let result) = state { return result }
            return nil
        }

        /// - Returns: false if the work has already ended.
        func abandon() -> Bool {
            pthread_mutex_lock(mutex)
            defer { pthread_mutex_unlock(mutex) }
            guard case .working = state else { return false }
            state = .abandoned
            isAbandoned.store(true, ordering: .relaxed)
            BackgroundWork.abandoned.withLock { $0 += 1 }
            return true
        }
    }

    private protocol Runnable: AnyObject { func run() }

    /// The stack of a thread; decoders keep rows on it.
    private static let stackBytes = 1 << 20

    /// Starts a detached thread that blocks all signals: the host's threads handle them.
    private static func startThread(_ job: any Runnable) -> Bool {
        var attributes = pthread_attr_t()
        guard pthread_attr_init(&attributes) == 0 else { return false }
        defer { pthread_attr_destroy(&attributes) }
        pthread_attr_setstacksize(&attributes, stackBytes)
        pthread_attr_setdetachstate(&attributes, Int32(PTHREAD_CREATE_DETACHED))
        var (all, saved) = (sigset_t(), sigset_t())
        sigfillset(&all)
        pthread_sigmask(SIG_BLOCK, &all, &saved)
        defer { pthread_sigmask(SIG_SETMASK, &saved, nil) }
        let held = Unmanaged.passRetained(job as AnyObject)
        var thread = pthread_t()
        let status = pthread_create(
            &thread, &attributes,
            { held in
                guard let held else { return nil }
                (Unmanaged<AnyObject>.fromOpaque(held).takeRetainedValue() as? any Runnable)?.run()
                return nil
            }, held.toOpaque())
        guard status == 0 else {
            held.release()
            return false
        }
        return true
    }
}
