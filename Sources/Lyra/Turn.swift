import LyraMedia
import LyraModel
import LyraTensor
import LyraText

/// What the user's turn is made of, in the order of feeding.
enum TurnItem {
    case text([UInt8])
    case speech(SpeechEncoding)
    /// Sound that is not speech; it stands where speech does.
    case sound(SoundEncoding)
    /// A picture or a video.
    case vision(VisionEncoding)
}

/// A turn's prompt: its token ids and embedded media, side by side.
struct Prompt {
    enum Span {
        case tokens([Int32])
        case media(any MediaEncoding)
    }

    private(set) var spans: [Span] = []
    /// Recordings of speech among the media: they decide on the adapter.
    private(set) var recordings: [SpeechEncoding] = []

    /// Lays out the turn as the model was trained: what is left of the last answer, the template's frame, and the items.
    /// Text is tokenized piece by piece around the media.
    init(_ items: [TurnItem], conversation: Conversation, systemPrompt: String, tokenizer: Tokenizer) {
        var text: [TextSegment] = []
        func literal(_ string: String) { text.append(TextSegment(string)) }
        func place(_ media: any MediaEncoding) {
            spans += [.tokens(tokenizer.encode(text)), .media(media)]
            text = []
        }
        if let answerEnded = conversation.answerEnded {
            literal(ChatTemplate.nextTurn(answerEnded: answerEnded))
        } else {
            literal(ChatTemplate.opening(system: systemPrompt))
        }
        var afterSpeech = false
        spans.append(.tokens(conversation.uncomputed))
        for item in items {
            switch item {
            case .text(let bytes):
                if afterSpeech { literal(ChatTemplate.speechSeparator) }
                text.append(TextSegment(bytes))
                afterSpeech = false
            case .speech(let encoding):
                place(encoding)
                recordings.append(encoding)
                afterSpeech = true
            case .sound(let encoding):
                place(encoding)
                afterSpeech = true
            case .vision(let encoding):
                literal(ChatTemplate.visionStart)
                place(encoding)
                literal(ChatTemplate.visionEnd)
                afterSpeech = false
            }
        }
        literal(ChatTemplate.userEnd)
        spans.append(.tokens(tokenizer.encode(text)))
    }

    var media: [any MediaEncoding] {
        spans.compactMap { if case .media(let encoding) = $0 { encoding } else { nil } }
    }

    var textTokens: [Int32] {
        spans.flatMap { span -> [Int32] in if case .tokens(let ids) = span { ids } else { [] } }
    }

    /// Tokens that stand for media, as far as they are encoded.
    var mediaTokens: Int { media.reduce(0) { $0 + $1.tokenCount } }

    /// Where the tokens of all spans stand, and the first position after them.
    func positions(from first: Int32) -> (positions: [Position], next: Int32) {
        var counter = PositionCounter(from: first)
        for span in spans {
            switch span {
            case .tokens(let ids): counter.append(ids.count)
            case .media(let encoding): counter.append(encoding.layout, count: encoding.tokenCount)
            }
        }
        return (counter.positions, counter.next)
    }

    /// Embeddings of all spans, one row a token. → [tokens, hidden]
    func embed(_ decoder: Decoder) throws -> Tensor {
        let hidden = decoder.configuration.hiddenSize
        var row = 0
        return try Tensor([textTokens.count + mediaTokens, hidden]) { out in
            func append(_ rows: Tensor) {
                rows.withValues { (out + row * hidden).update(from: $0, count: rows.count) }
                row += rows.rows
            }
            for span in spans {
                switch span {
                case .tokens(let ids): append(try decoder.embed(ids))
                case .media(let encoding): encoding.tokens.forEach(append)
                }
            }
        }
    }
}
