import LyraModel
import LyraBase
import LyraText

/// An item of a user's turn.
enum TurnItem {
    /// UTF-8; `specialTokens` states whether names of special tokens in it become those tokens.
    case text(GrowingBuffer<UInt8>, specialTokens: Bool)
    /// A recording of speech.
    case speech(SpeechEncoding)
    /// Sound other than speech; it takes the place of speech in the template.
    case sound(SoundEncoding)
    /// An image or a video.
    case vision(VisionEncoding)
}

/// The user's turn in the layout of the training data: text and media, inside the chat template. Text between media is
/// tokenized piece by piece.
struct Turn {
    enum Span {
        case text([TextSegment])
        case media(any MediaEncoding)
    }

    /// The spans that are not taken yet.
    private(set) var spans: [Span] = []
    /// Whether the user's content has ended.
    private(set) var isClosed = false
    private var isAfterSpeech = false
    private(set) var isEmpty = true

    mutating func add(_ item: TurnItem) {
        openRecording?.finish()
        isEmpty = false
        switch item {
        case .text(let bytes, let specialTokens):
            if isAfterSpeech { literal(ChatTemplate.speechSeparator) }
            append(TextSegment(bytes, allowSpecial: specialTokens))
            isAfterSpeech = false
        case .speech(let encoding):
            spans.append(.media(encoding))
            isAfterSpeech = true
        case .sound(let encoding):
            spans.append(.media(encoding))
            isAfterSpeech = true
        case .vision(let encoding):
            literal(ChatTemplate.visionStart)
            spans.append(.media(encoding))
            literal(ChatTemplate.visionEnd)
            isAfterSpeech = false
        }
    }

    /// Ends the user's content.
    mutating func close() {
        openRecording?.finish()
        literal(ChatTemplate.userEnd)
        isClosed = true
    }

    /// Puts the template's opening before everything else.
    mutating func open(with opening: [TextSegment]) {
        if case .text(let segments)? = spans.first {
            spans[0] = .text(opening + segments)
        } else {
            spans.insert(.text(opening), at: 0)
        }
    }

    /// The recordings of speech that are not taken yet. The adapter depends on them, so none is taken before the
    /// adapter is settled.
    var recordings: [SpeechEncoding] {
        spans.compactMap { if case .media(let encoding as SpeechEncoding) = $0 { encoding } else { nil } }
    }

    /// The last recording of the turn, if further samples continue it.
    var openRecording: SpeechEncoding? {
        guard case .media(let encoding as SpeechEncoding)? = spans.last, encoding.isOpen else { return nil }
        return encoding
    }

    private mutating func literal(_ string: String) { append(TextSegment(string)) }

    private mutating func append(_ segment: TextSegment) {
        guard case .text(var segments)? = spans.last else { return spans.append(.text([segment])) }
        spans.removeLast()  // leaves `segments` the only reference, so that the text grows in place
        segments.append(segment)
        spans.append(.text(segments))
    }

    /// The media that are not encoded yet, in order.
    var unfinished: [any MediaEncoding] {
        spans.compactMap { if case .media(let encoding) = $0, !encoding.isDone { encoding } else { nil } }
    }

    /// Whether the first span is text that cannot grow any more.
    var isFirstTextComplete: Bool {
        if case .text? = spans.first { isClosed || spans.count > 1 } else { false }
    }

    /// Whether the first span is a medium, or text that cannot grow.
    var canTakeFirst: Bool {
        if case .media? = spans.first { true } else { isFirstTextComplete }
    }

    mutating func removeFirst() { spans.removeFirst() }
}

extension Turn {
    /// The saved form of a turn that was prefilled as far as it was fed.
    struct Saved: Encodable {
        var isAfterSpeech: Bool
        var wasFed: Bool
    }

    /// Nil while something waits to be encoded or prefilled.
    var saved: Saved? { spans.isEmpty ? Saved(isAfterSpeech: isAfterSpeech, wasFed: !isEmpty) : nil }

    init(_ saved: Saved) {
        isAfterSpeech = saved.isAfterSpeech
        isEmpty = !saved.wasFed
    }
}
