import Glibc

/// Makes a call that may let a file grow. Over RLIMIT_FSIZE it fails with EFBIG, and the signal that comes with that,
/// which would end the process, is taken from this thread.
public func withoutSizeSignal<Result>(_ call: () -> Result) -> Result {
    var (signals, usual, waiting) = (sigset_t(), sigset_t(), sigset_t())
    sigemptyset(&signals)
    sigaddset(&signals, SIGXFSZ)
    sigpending(&waiting)
    pthread_sigmask(SIG_BLOCK, &signals, &usual)
    let result = call()
    let code = errno
    // One that waited before is the host's.
    if sigismember(&waiting, SIGXFSZ) == 0 {
        var now = timespec()
        while sigtimedwait(&signals, nil, &now) < 0, errno == EINTR {}
    }
    pthread_sigmask(SIG_SETMASK, &usual, nil)
    errno = code
    return result
}
