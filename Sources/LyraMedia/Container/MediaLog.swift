import CFFmpeg

/// Keeps FFmpeg's libraries from writing to stderr about the files that lyra reads.
///
/// They have one log callback in a process. Ours drops the messages of our contexts and of calls made inside `quiet`,
/// and hands all others to FFmpeg's own, so that a host which uses the libraries too sees what it would see without
/// lyra. A host with a callback of its own installs it after the first use of lyra's decoders, and then gets lyra's
/// messages as well.
enum MediaLog {
    /// What a context's `log_level_offset` is set to, for messages of the threads that a decoder starts.
    static let offset = lyra_av_quiet_offset()

    static func quiet<R>(_ body: () throws -> R) rethrows -> R {
        lyra_av_quiet_depth().pointee += 1
        defer { lyra_av_quiet_depth().pointee -= 1 }
        return try body()
    }

    /// FFmpeg's words for an error code.
    static func reason(_ code: Int32) -> String {
        withUnsafeTemporaryAllocation(of: CChar.self, capacity: 128) { buffer in
            buffer.initialize(repeating: 0)
            guard let base = buffer.baseAddress, av_strerror(code, base, buffer.count) == 0 else {
                return "error \(code)"
            }
            return String(cString: base)
        }
    }
}
