import LyraBase

/// What is known of the turn in progress, or of the last one.
struct TurnRecord {
    var usage = Usage()
    /// Where the media stand in the prompt, as far as they are encoded.
    var media = GrowingBuffer<MediaSpan>()
    /// For each block of the extractor, the media tokens that it kept, by their places in the prompt.
    private(set) var kept: [GrowingBuffer<Int32>] = []

    init(media: GrowingBuffer<MediaSpan> = GrowingBuffer()) { self.media = media }

    init(_ intake: PromptIntake) {
        follow(intake)
    }

    /// Takes over what the turn's prompt came to so far.
    mutating func follow(_ intake: PromptIntake) {
        (media, kept) = (intake.media, intake.kept)
        (usage.promptTokens, usage.mediaTokens) = (intake.promptTokens, intake.mediaTokens)
        usage.keptPerBlock = kept.map(\.count)
        (usage.timings.encode, usage.timings.prefill) = (intake.timings.encode, intake.timings.prefill)
    }

    /// The prompt is rolled back: nothing of it is in the conversation.
    mutating func forgetPrompt() { (media, kept) = (GrowingBuffer(), []) }
}
