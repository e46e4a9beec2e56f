/// What a step brought.
public struct SessionEvents: OptionSet, Sendable {
    public let rawValue: UInt32
    public init(rawValue: UInt32) { self.rawValue = rawValue }

    /// Something was encoded or prefilled.
    public static let progress = SessionEvents(rawValue: 1)
    /// `readText` has something new.
    public static let text = SessionEvents(rawValue: 2)
    /// `readAudio` has something new.
    public static let audio = SessionEvents(rawValue: 4)
    /// The turn is over; exactly once for each.
    public static let end = SessionEvents(rawValue: 8)
}

/// How far a turn is.
public struct SessionProgress: Equatable, Sendable {
    public enum Phase: Int32, Sendable { case idle = 0, encode, prefill, answer }

    public var phase = Phase.idle
    /// Windows of speech, images, videos and sounds encoded; token-layers (tokens times layers) prefilled; or tokens
    /// generated.
    public var done = 0
    /// The same count for the whole turn; 0 if not known yet. Of an answer, the most that it can have.
    public var total = 0
}

/// Why a turn ended.
public enum StopReason: Int32, Sendable {
    case none = 0, endOfAnswer, length, stopped, cancelled, failed
}

/// What a turn cost.
public struct Usage: Sendable {
    public var stop = StopReason.none
    /// Tokens of this turn that were prefilled, media among them.
    public var promptTokens = 0
    public var mediaTokens = 0
    /// Tokens of earlier turns that were in the KV cache and not computed again.
    public var cachedTokens = 0
    /// Of the answer, the stop token included.
    public var generatedTokens = 0
    public var units = 0
    public var audioSamples = 0
    /// How many of the turn's media tokens the extractor kept after each block; empty without an extractor.
    public var keptPerBlock: [Int] = []
    /// Bytes of the conversation's keys and values, now.
    public var cacheBytes = 0
    public var timings = Timings()
    /// The adapter in use; nil for none.
    public var adapter: String?
}

/// Where the time of a turn went, in milliseconds.
public struct Timings: Sendable {
    /// Inside `step`, for each kind of work.
    public var encode = 0.0
    public var prefill = 0.0
    public var decode = 0.0
    /// Speech generator and vocoder.
    public var speech = 0.0
    /// From the end of the user's turn; 0 if there was none.
    public var firstToken = 0.0
    public var firstAudio = 0.0
    /// From the end of the user's turn to the end event, or to now.
    public var total = 0.0
}
