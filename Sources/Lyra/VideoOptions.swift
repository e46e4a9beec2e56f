/// Which frames of a video are encoded.
public struct VideoOptions: Sendable {
    /// Above 0, and 1000 at most.
    public var framesPerSecond = 2.0
    /// At most so many, evenly over the whole video; 1 to 65,536. An even number, 4 at least, is chosen.
    public var maxFrames = 16
    /// Whether the video's own audio follows its frames as speech.
    public var withAudio = false

    public init() {}
}
