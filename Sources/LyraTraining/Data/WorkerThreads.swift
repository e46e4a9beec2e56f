import Glibc
import LyraBase

/// A lock with a condition that threads wait for.
final class Monitor: Sendable {
    nonisolated(unsafe) private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    nonisolated(unsafe) private let condition = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)

    init() {
        pthread_mutex_init(mutex, nil)
        var attributes = pthread_condattr_t()
        pthread_condattr_init(&attributes)
        pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC)
        pthread_cond_init(condition, &attributes)
        pthread_condattr_destroy(&attributes)
    }

    deinit {
        pthread_cond_destroy(condition)
        pthread_mutex_destroy(mutex)
        condition.deallocate()
        mutex.deallocate()
    }

    func withLock<R>(_ body: () throws -> R) rethrows -> R {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        return try body()
    }

    /// Waits until another thread changes something. Only under the lock, which is free meanwhile.
    func wait() { pthread_cond_wait(condition, mutex) }

    /// The same, for at most so many milliseconds.
    func wait(milliseconds: Int) {
        var until = timespec()
        clock_gettime(CLOCK_MONOTONIC, &until)
        until.tv_nsec += milliseconds * 1_000_000
        until.tv_sec += until.tv_nsec / 1_000_000_000
        until.tv_nsec %= 1_000_000_000
        pthread_cond_timedwait(condition, mutex, &until)
    }

    /// Wakes all waiting threads.
    func signal() { pthread_cond_broadcast(condition) }
}

/// Threads that run the same function.
final class WorkerThreads {
    /// Decoders keep rows on the stack.
    private static let stackBytes = 4 << 20

    private var threads: [pthread_t] = []

    /// Starts at most `count` threads; fewer if the system refuses more. They block all signals, which are for the
    /// threads of the program.
    init(_ count: Int, run: @escaping @Sendable () -> Void) {
        var attributes = pthread_attr_t()
        guard pthread_attr_init(&attributes) == 0 else { return }
        defer { pthread_attr_destroy(&attributes) }
        pthread_attr_setstacksize(&attributes, Self.stackBytes)
        var (all, usual) = (sigset_t(), sigset_t())
        sigfillset(&all)
        pthread_sigmask(SIG_BLOCK, &all, &usual)
        defer { pthread_sigmask(SIG_SETMASK, &usual, nil) }
        for _ in 0..<count {
            guard let thread = Self.start(&attributes, run) else { return }
            threads.append(thread)
        }
    }

    /// Number of threads that run.
    var count: Int { threads.count }

    /// Waits until the function has ended on all threads.
    func join() {
        for thread in threads { pthread_join(thread, nil) }
        threads = []
    }

    /// A function, as an object that C code can hold.
    private final class Body: Sendable {
        let run: @Sendable () -> Void
        init(_ run: @escaping @Sendable () -> Void) { self.run = run }
    }

    private static func start(_ attributes: inout pthread_attr_t, _ run: @escaping @Sendable () -> Void) -> pthread_t? {
        let held = Unmanaged.passRetained(Body(run))
        var thread = pthread_t()
        let status = pthread_create(
            &thread, &attributes,
            { held in
                if let held { Unmanaged<Body>.fromOpaque(held).takeRetainedValue().run() }
                return nil
            }, held.toOpaque())
        guard status == 0 else {
            held.release()
            return nil
        }
        return thread
    }
}

extension WorkerThreads {
    /// Milliseconds between two calls of `progress`.
    private static let interval = 50

    /// Calls `body` for every index below `count`, on `threads` threads, and waits.
    ///
    /// - Parameters:
    ///   - chunk: indices that a thread takes at once
    ///   - progress: called on the calling thread with the number of indices that are done; throws to abort
    /// - Throws: any error of `progress`; `LyraError.state` if the calling thread is interrupted. The threads have
    ///   ended then.
    static func forEach(
        _ count: Int, threads: Int, chunk: Int = 16, progress: (Int) throws -> Void = { _ in },
        _ body: @escaping @Sendable (Int) -> Void
    ) throws {
        let work = SharedIndices(count: count)
        @Sendable func run() {
            work.interruption.during {
                while let range = work.next(chunk) {
                    for index in range where !Interruption.isRaised { body(index) }
                    work.finish(range.count)
                }
            }
        }
        let workers = WorkerThreads(threads, run: run)
        defer {
            work.cancel()
            workers.join()
        }
        if workers.count == 0 {
            while let range = work.next(chunk) {
                range.forEach(body)
                work.finish(range.count)
                try Interruption.check()
                try progress(work.done(waiting: 0))
            }
        }
        while true {
            let done = work.done(waiting: interval)
            try Interruption.check()
            try progress(done)
            if done == count { return }
        }
    }

    /// The indices that are still to be taken. The monitor guards the counts.
    private final class SharedIndices: @unchecked Sendable {
        private let count: Int
        private let monitor = Monitor()
        private var taken = 0
        private var finished = 0
        let interruption = Interruption()

        init(count: Int) { self.count = count }

        func next(_ chunk: Int) -> Range<Int>? {
            monitor.withLock {
                let end = min(taken + chunk, count)
                guard taken < end, !interruption.isCancelled else { return nil }
                defer { taken = end }
                return taken..<end
            }
        }

        func finish(_ number: Int) {
            monitor.withLock {
                finished += number
                if finished == count { monitor.signal() }
            }
        }

        func cancel() { interruption.cancel() }

        /// The number of indices that are done, once all are or the time is over.
        func done(waiting milliseconds: Int) -> Int {
            monitor.withLock {
                if finished < count, milliseconds > 0 { monitor.wait(milliseconds: milliseconds) }
                return finished
            }
        }
    }
}

extension Interruption {
    /// From this value on, work that checks the flag ends (`LK_INTERRUPTED`).
    private static let raised: Int32 = 16

    /// Ends the work that is bound to this flag.
    func cancel() { value = Self.raised }

    var isCancelled: Bool { value >= Self.raised }
}
