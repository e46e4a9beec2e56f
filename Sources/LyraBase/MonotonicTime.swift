import Glibc

/// A clock that only moves forward, for measuring durations.
package enum MonotonicTime {
    /// Since a fixed moment in the past.
    package static var seconds: Double {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
    }

    package static var milliseconds: Double { seconds * 1e3 }
}
