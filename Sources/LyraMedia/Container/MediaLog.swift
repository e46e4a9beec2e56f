import CFFmpeg

/// Keeps FFmpeg's libraries from writing to stderr about the files that lyra reads.
///
/// FFmpeg has one log callback for the whole process. lyra's callback drops the messages of lyra's contexts and of
/// calls inside `quiet`, and passes all others to FFmpeg's default callback, so a host that uses FFmpeg sees its own
/// messages as before. A host with a callback of its own must install it after the first use of lyra's decoders; that
/// callback then receives lyra's messages, too.
enum MediaLog {
    /// The `log_level_offset` that marks lyra's contexts. It covers messages from threads that a decoder starts.
    static let offset = lyra_av_quiet_offset()

    static func quiet<R>(_ body: () throws -> R) rethrows -> R {
        lyra_av_quiet_depth().pointee += 1
        defer { lyra_av_quiet_depth().pointee -= 1 }
        return try body()
    }

    /// FFmpeg's description of an error code.
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
