import LyraBase

/// What a file of pictures, video or sound may cost. A file that needs more is refused with `LyraError(.memory)` that
/// names the limit, before the memory is taken.
public struct MediaLimits: Sendable, Equatable {
    /// Pixels of one still picture. Decoding takes up to 11 bytes each.
    public var imagePixels = 1 << 27
    /// Bytes of one encoded still picture, which is held in memory as a whole.
    public var imageBytes = 1 << 28
    /// Pixels of one frame of a video; a little more than 8K. A decoder may hold some twenty frames.
    public var videoPixels = 1 << 25
    /// Frames of a video, which are counted before the first is chosen. Counting takes 16 bytes each.
    public var videoFrames = 4_000_000
    /// Length of a video in seconds: a day.
    public var videoSeconds = 86_400.0
    /// Tracks of a file.
    public var tracks = 64
    /// Bytes of one encoded frame of video or piece of sound.
    public var packetBytes = 1 << 28
    /// Bytes that a pipe may give, which are copied to a temporary file.
    public var spoolBytes = 1 << 33
    /// Threads that decode a video; 0 is one for each processor, 8 at most.
    public var threads = 0

    public init() {}
}

extension FileByteReader {
    /// Opens a file, or reads a pipe of at most `limits.spoolBytes` bytes to its end.
    ///
    /// - Parameter interrupted: asked while a pipe is read or waited for; true ends the call with `LyraError(.state)`
    public convenience init(
        path: String, limits: MediaLimits = MediaLimits(), interrupted: () -> Bool = { false }
    ) throws {
        try self.init(
            path: path, limit: limits.spoolBytes, limitName: "MediaLimits.spoolBytes", interrupted: interrupted)
    }
}
