import LyraBase

/// Media and statistics of the turn in progress, or of the last one.
struct TurnRecord {
    var usage = Usage()
    /// Spans of the media encoded so far, in the prompt.
    var media = GrowingBuffer<MediaSpan>()
    /// For each extractor block, the media tokens that were kept, as indices into the prompt.
    private(set) var kept: [GrowingBuffer<Int32>] = []

    init(media: GrowingBuffer<MediaSpan> = GrowingBuffer()) { self.media = media }

    init(_ intake: PromptIntake) {
        update(from: intake)
    }

    /// Copies the current state of the turn's prompt.
    mutating func update(from intake: PromptIntake) {
        (media, kept) = (intake.media, intake.kept)
        (usage.promptTokens, usage.mediaTokens) = (intake.promptTokens, intake.mediaTokens)
        usage.keptPerBlock = kept.map(\.count)
        (usage.timings.encode, usage.timings.prefill) = (intake.timings.encode, intake.timings.prefill)
    }

    /// Clears the prompt's data after a rollback.
    mutating func clearPrompt() { (media, kept) = (GrowingBuffer(), []) }
}
