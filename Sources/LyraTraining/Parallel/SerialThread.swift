import Glibc
import LyraBase

/// A thread that runs jobs one after another, in the order in which they come.
final class SerialThread: @unchecked Sendable {
    private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    /// A job came, all have ended, or the thread shall end.
    private let changed = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
    // The mutex guards these.
    private var jobs: [() -> Void] = []
    /// Jobs that wait or run.
    private var unfinished = 0
    private var isEnding = false

    /// - Throws: `LyraError.memory` if the system starts no thread.
    init() throws {
        pthread_mutex_init(mutex, nil)
        pthread_cond_init(changed, nil)
        // Signals are for the other threads.
        var (all, usual) = (sigset_t(), sigset_t())
        sigfillset(&all)
        pthread_sigmask(SIG_BLOCK, &all, &usual)
        defer { pthread_sigmask(SIG_SETMASK, &usual, nil) }
        let held = Unmanaged.passRetained(self)
        var thread = pthread_t()
        let status = pthread_create(
            &thread, nil,
            { held in
                if let held { Unmanaged<SerialThread>.fromOpaque(held).takeRetainedValue().runJobs() }
                return nil
            }, held.toOpaque())
        guard status == 0 else {
            held.release()
            throw LyraError(.memory, "the system starts no further thread: \(systemMessage(status))")
        }
        pthread_detach(thread)
    }

    deinit {
        pthread_cond_destroy(changed)
        pthread_mutex_destroy(mutex)
        changed.deallocate()
        mutex.deallocate()
    }

    /// Adds a job and returns.
    func post(_ job: @escaping () -> Void) {
        pthread_mutex_lock(mutex)
        jobs.append(job)
        unfinished += 1
        pthread_cond_broadcast(changed)
        pthread_mutex_unlock(mutex)
    }

    /// Waits until all jobs have ended.
    func waitForAll() {
        pthread_mutex_lock(mutex)
        while unfinished > 0 { pthread_cond_wait(changed, mutex) }
        pthread_mutex_unlock(mutex)
    }

    /// Ends the thread after its last job.
    func end() {
        pthread_mutex_lock(mutex)
        isEnding = true
        pthread_cond_broadcast(changed)
        pthread_mutex_unlock(mutex)
    }

    private func runJobs() {
        while let job = nextJob() {
            job()
            pthread_mutex_lock(mutex)
            unfinished -= 1
            if unfinished == 0 { pthread_cond_broadcast(changed) }
            pthread_mutex_unlock(mutex)
        }
    }

    /// Waits for a job. → nil at the end
    private func nextJob() -> (() -> Void)? {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        while jobs.isEmpty {
            if isEnding { return nil }
            pthread_cond_wait(changed, mutex)
        }
        return jobs.removeFirst()
    }
}
