import Glibc

/// Makes a system call that can grow a file, and discards the signal SIGXFSZ that it causes. Over RLIMIT_FSIZE the call
/// fails with EFBIG, and the signal would end the process.
public func withoutSizeSignal<Result>(_ call: () -> Result) -> Result {
    var (signals, previous, pending) = (sigset_t(), sigset_t(), sigset_t())
    sigemptyset(&signals)
    sigaddset(&signals, SIGXFSZ)
    sigpending(&pending)
    pthread_sigmask(SIG_BLOCK, &signals, &previous)
    let result = call()
    let code = errno
    // A signal that was pending before belongs to the host.
    if sigismember(&pending, SIGXFSZ) == 0 {
        var now = timespec()
        while sigtimedwait(&signals, nil, &now) < 0, errno == EINTR {}
    }
    pthread_sigmask(SIG_SETMASK, &previous, nil)
    errno = code
    return result
}
