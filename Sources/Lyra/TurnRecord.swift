import LyraBase

/// Media and statistics of a turn.
struct TurnRecord {
    var usage = Usage()
    /// Spans of the media encoded so far, in the prompt.
    private(set) var media = GrowingBuffer<MediaSpan>()
    /// For each extractor block, the media tokens that were kept, as indices into the prompt.
    private(set) var kept: [GrowingBuffer<Int32>] = []
    /// Whether the turn was discarded while it was being fed.
    private var wasDiscarded = false
    /// Whether `AnswerEvents` has yet to deliver the turn's end.
    var isEndPending = false

    init(media: GrowingBuffer<MediaSpan> = GrowingBuffer()) { self.media = media }

    /// A turn that was discarded while it was being fed.
    init(discarded reason: StopReason) {
        usage.stop = reason
        wasDiscarded = true
    }

    /// A turn in progress.
    init(_ intake: PromptIntake, _ answer: Answer? = nil) {
        (media, kept) = (intake.media, intake.kept)
        (usage.promptTokens, usage.mediaTokens) = (intake.promptTokens, intake.mediaTokens)
        usage.cachedTokens = intake.before.lengths.first ?? 0
        (usage.timings.encode, usage.timings.prefill) = (intake.timings.encode, intake.timings.prefill)
        guard let end = intake.turnEnd else { return }
        usage.timings.total = MonotonicTime.milliseconds - end
        guard let answer else { return }
        (usage.generatedTokens, usage.units) = (answer.tokens.count, answer.unitCount)
        usage.audioSamples = answer.sampleCount
        (usage.timings.decode, usage.timings.speech) = (answer.decodeTime, answer.speechTime)
        if let first = answer.firstToken { usage.timings.firstToken = first - end }
        if let first = answer.firstAudio { usage.timings.firstAudio = first - end }
    }

    /// Why the turn was discarded while it was being fed; `none` for any other turn.
    var discardReason: StopReason { wasDiscarded ? usage.stop : .none }

    /// Removes the prompt's data after a rollback.
    mutating func clearPrompt() { (media, kept) = (GrowingBuffer(), []) }
}
