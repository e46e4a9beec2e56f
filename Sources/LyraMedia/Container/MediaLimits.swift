import LyraBase

/// Limits on the size of images, videos and sound. A file that exceeds one is refused with a `LyraError(.memory)` that
/// names the limit, before memory is allocated.
public struct MediaLimits: Sendable, Equatable {
    /// Pixels of one image. Decoding takes up to 11 bytes a pixel.
    public var imagePixels = 1 << 27
    /// Bytes of one encoded image, which is held in memory as a whole.
    public var imageBytes = 1 << 28
    /// Pixels of one frame of a video; a little more than 8K. A decoder may hold some twenty frames.
    public var videoPixels = 1 << 25
    /// Frames of a video. Counting them, before any is decoded, takes 16 bytes a frame.
    public var videoFrames = 4_000_000
    /// Length of a video in seconds: a day.
    public var videoSeconds = 86_400.0
    /// Tracks of a file.
    public var tracks = 64
    /// Bytes of one packet of encoded video or sound.
    public var packetBytes = 1 << 28
    /// Bytes read from a pipe, which are copied to a temporary file.
    public var spoolBytes = 1 << 33
    /// Threads that decode a video; 0 for one per processor, 8 at most.
    public var threads = 0

    public init() {}
}

extension FileByteReader {
    /// Opens a file, or reads a pipe of at most `limits.spoolBytes` bytes to its end.
    ///
    /// - Parameter interrupted: Polled while a pipe is read or waited for; true ends the call with `LyraError(.state)`.
    public convenience init(
        path: String, limits: MediaLimits = MediaLimits(), interrupted: () -> Bool = { false }
    ) throws {
        try self.init(
            path: path, limit: limits.spoolBytes, limitName: "lyra's limit for a pipe", interrupted: interrupted)
    }
}
