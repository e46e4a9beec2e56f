/// The texts around the turns of a conversation, in Qwen2's ChatML layout:
///
///     <|im_start|>system\n…<|im_end|>\n<|im_start|>user\n CONTENT <|im_end|>\n<|im_start|>assistant\n
///
/// `\n` is a line break. Join all text between two media before tokenizing it, because tokens can span the joints.
public enum ChatTemplate {
    /// The system prompt, unless the caller sets another.
    public static let defaultSystemPrompt = "You are a helpful assistant."

    /// Begins a turn; the role and a line break follow.
    public static let turnStart = "<|im_start|>"
    /// Ends a turn; a line break follows.
    public static let turnEnd = "<|im_end|>"
    /// Ends a document. Generation stops at this token and at `turnEnd`.
    public static let endOfText = "<|endoftext|>"

    /// Comes before the user's content.
    public static let userStart = "<|im_start|>user\n"
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

    /// The same text as segments to be tokenized together. Names of special tokens in the system prompt are plain text.
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

    /// The text between the assistant's answer and the content of the user's next turn.
    /// - Parameter answerEnded: whether the answer ends with the token `<|im_end|>`; if not, the text adds it
    public static func nextTurn(answerEnded: Bool) -> String {
        (answerEnded ? "" : turnEnd) + "\n" + userStart
    }
}
