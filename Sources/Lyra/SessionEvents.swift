/// The result of a step.
public struct SessionEvents: OptionSet, Sendable {
    public let rawValue: UInt32
    public init(rawValue: UInt32) { self.rawValue = rawValue }

    /// Encoding or prefill advanced.
    public static let progress = SessionEvents(rawValue: 1)
    /// `readText` has new text.
    public static let text = SessionEvents(rawValue: 2)
    /// `readAudio` has new samples.
    public static let audio = SessionEvents(rawValue: 4)
    /// The turn is over; reported exactly once for each turn.
    public static let end = SessionEvents(rawValue: 8)
}

/// Progress of a turn.
public struct SessionProgress: Equatable, Sendable {
    public enum Phase: Int32, Sendable { case idle = 0, encode, prefill, answer }

    public var phase = Phase.idle
    /// Number of encoded windows of speech, images, videos and sounds; of prefilled token-layers (tokens times layers);
    /// or of generated tokens.
    public var done = 0
    /// The total for the turn; 0 if unknown. For an answer, its maximum length.
    public var total = 0
}

/// Why a turn ended.
public enum StopReason: Int32, Sendable {
    case none = 0, endOfAnswer, length, stopped, cancelled, failed
}

/// Cost of a turn.
public struct Usage: Sendable {
    public var stop = StopReason.none
    /// Prefilled tokens of this turn, including media.
    public var promptTokens = 0
    public var mediaTokens = 0
    /// Tokens of earlier turns that were reused from the KV cache.
    public var cachedTokens = 0
    /// Tokens of the answer, including the end token.
    public var generatedTokens = 0
    public var units = 0
    public var audioSamples = 0
    /// Number of media tokens that the extractor kept after each block; empty without an extractor.
    public var keptPerBlock: [Int] = []
    /// Current size in bytes of the conversation's KV cache; while a turn is in progress, with the cache pages that
    /// only its rollback needs.
    public var cacheBytes = 0
    public var timings = Timings()
    /// The adapter in use; nil for none.
    public var adapter: String?
}

/// Time spent on a turn, in milliseconds.
public struct Timings: Sendable {
    /// Within `step`, for each kind of work.
    public var encode = 0.0
    public var prefill = 0.0
    public var decode = 0.0
    /// Speech generator and vocoder.
    public var speech = 0.0
    /// From the end of the user's turn; 0 if there was no token.
    public var firstToken = 0.0
    public var firstAudio = 0.0
    /// From the end of the user's turn to the end event, or until now.
    public var total = 0.0
}
