/// The texts around what is said, in the ChatML layout of Qwen2:
///
///     <|im_start|>system\n…<|im_end|>\n<|im_start|>user\n CONTENT <|im_end|>\n<|im_start|>assistant\n
///
/// Text is tokenized piece by piece around the media: join all text between two media before encoding it, because
/// tokens may span the joints. A literal line break is `\n`.
public enum ChatTemplate {
    /// What the system is told unless the caller says otherwise.
    public static let defaultSystemPrompt = "You are a helpful assistant."

    /// Begins a turn; the role and a line break follow.
    public static let turnStart = "<|im_start|>"
    /// Ends a turn; a line break follows.
    public static let turnEnd = "<|im_end|>"
    /// Ends a document; with `turnEnd` the tokens at which generation stops.
    public static let endOfText = "<|endoftext|>"

    /// Comes before the user's content.
    public static let userStart = "<|im_start|>user\n"
    /// Comes before the assistant's answer.
    public static let assistantStart = "<|im_start|>assistant\n"
    /// Comes between the user's content and the assistant's answer.
    public static let userEnd = "<|im_end|>\n<|im_start|>assistant\n"

    /// Comes before and after an image or a video.
    public static let visionStart = "<|vision_start|>"
    public static let visionEnd = "<|vision_end|>"
    /// Comes between speech and the typed text that follows it.
    public static let speechSeparator = "\n"

    /// Begins a conversation, up to the content of the user's first turn, as one string.
    public static func opening(system: String = defaultSystemPrompt) -> String {
        "<|im_start|>system\n" + system + "<|im_end|>\n" + userStart
    }

    /// The same text as segments to be tokenized together. The system prompt is text: the names of special tokens in it are
    /// not read as those tokens.
    public static func openingSegments(system: String) -> [TextSegment] {
        [
            TextSegment("<|im_start|>system\n"), TextSegment(system, allowSpecial: false),
            TextSegment("<|im_end|>\n" + userStart),
        ]
    }

    /// The tokens that give a conversation its structure: special even where a vocabulary declares them otherwise, so
    /// that plain text never contains them.
    static let controlTokens: Set<[UInt8]> = Set(
        [turnStart, turnEnd, endOfText, visionStart, visionEnd].map { Array($0.utf8) })

    /// Leads from the assistant's answer to the content of the user's next turn.
    /// - Parameter answerEnded: whether the answer's last token in the context is `<|im_end|>` already. If generation
    ///   ended for another reason, the turn is closed first.
    public static func nextTurn(answerEnded: Bool) -> String {
        (answerEnded ? "" : turnEnd) + "\n" + userStart
    }
}
