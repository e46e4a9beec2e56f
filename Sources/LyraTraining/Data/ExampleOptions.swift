import LyraBase
import LyraMedia
import LyraText

/// How conversations become examples.
package struct ExampleOptions: Sendable {
    /// For conversations without a system prompt of their own.
    package var systemPrompt = ChatTemplate.defaultSystemPrompt
    /// Larger images are first shrunk to this longest side, in pixels; at least 28. The reference uses 2880 on its
    /// command line, and 1920 in evaluations.
    package var imageSide = 2880
    /// Larger images are shrunk to this many pixels; nil means the checkpoint's value.
    package var imagePixels: Int?
    /// Frames of a video that are encoded: this many a second, but at most `maxFrames`.
    package var framesPerSecond = 2.0
    package var maxFrames = 16
    /// Seconds of a recording of speech that are encoded; the rest is left out. Above 0; nil means all. With 30, a
    /// recording has one window, as in the reference's evaluations. The transcript of a longer recording is not used,
    /// because it says more than the speech that is left.
    package var speechSeconds: Double?
    /// An example with more windows in one recording is bad; nil means no limit.
    package var maxWindows: Int?
    /// An example with more rows in the decoder's input, or more tokens in its transcript, is bad; nil means no limit.
    package var maxLength: Int?
    /// A sound that is longer, in seconds, makes an example bad.
    package var soundSeconds = SoundClips.defaultLimit
    /// Larger media make an example bad.
    package var limits = MediaLimits()

    package init() {
        // Examples are decoded on several threads.
        limits.threads = 1
    }

    /// - Throws: `LyraError.argument` if an option is out of range.
    func check() throws {
        func require(_ isValid: Bool, _ message: @autoclosure () -> String) throws {
            guard isValid else { throw LyraError(.argument, message()) }
        }
        try require(imageSide >= 28, "images of at most \(imageSide) pixels a side; allow 28 or more")
        try require(
            imagePixels.map { $0 >= 1 } ?? true, "images of at most \(imagePixels ?? 0) pixels; allow 1 or more")
        _ = try VideoSampling(framesPerSecond: framesPerSecond, maxFrames: maxFrames)
        try require(
            speechSeconds.map { $0 > 0 } ?? true, "\(speechSeconds ?? 0) s of speech; the number must be above 0")
        try require(maxWindows.map { $0 >= 1 } ?? true, "at most \(maxWindows ?? 0) windows; allow 1 or more")
        try require(maxLength.map { $0 >= 1 } ?? true, "at most \(maxLength ?? 0) tokens; allow 1 or more")
        try require(soundSeconds > 0, "\(soundSeconds) s of sound; the number must be above 0")
    }
}
