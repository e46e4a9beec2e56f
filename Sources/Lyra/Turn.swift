import LyraMedia
import LyraModel
import LyraTensor
import LyraText

/// What the user's turn is made of, in the order of feeding.
enum TurnItem {
    case text([UInt8])
    case speech(SpeechEncoding)
}

/// A turn's prompt: its token ids and embedded media, side by side.
struct Prompt {
    enum Span {
        case tokens([Int32])
        case speech(SpeechEncoding)
    }

    private(set) var spans: [Span] = []

    /// Lays out the turn as the model was trained: what is left of the last answer, the template's frame, and the items.
    /// Text is tokenized piece by piece around the media.
    init(_ items: [TurnItem], conversation: Conversation, systemPrompt: String, tokenizer: Tokenizer) {
        var text: [TextSegment] = []
        func literal(_ string: String) { text.append(TextSegment(string)) }
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
                spans += [.tokens(tokenizer.encode(text)), .speech(encoding)]
                text = []
                afterSpeech = true
            }
        }
        literal(ChatTemplate.userEnd)
        spans.append(.tokens(tokenizer.encode(text)))
    }

    var recordings: [SpeechEncoding] {
        spans.compactMap { if case .speech(let encoding) = $0 { encoding } else { nil } }
    }

    var textTokens: [Int32] {
        spans.flatMap { span -> [Int32] in if case .tokens(let ids) = span { ids } else { [] } }
    }

    /// Tokens that stand for media, as far as they are encoded.
    var mediaTokens: Int { recordings.reduce(0) { $0 + $1.tokens.reduce(0) { $0 + $1.rows } } }

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
                case .speech(let encoding): encoding.tokens.forEach(append)
                }
            }
        }
    }
}
