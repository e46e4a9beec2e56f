/// Which frames of a video are encoded.
public struct VideoOptions: Sendable {
    /// Above 0, at most 1000.
    public var framesPerSecond = 2.0
    /// Maximum number of frames, spread evenly over the video; 1 to 65,536. The number chosen is even and at least 4;
    /// it is 2 for a maximum below 4.
    public var maxFrames = 16
    /// Whether the video's own audio follows its frames as speech.
    public var withAudio = false

    public init() {}
}
