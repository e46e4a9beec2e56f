import LyraBase

/// Text to be tokenized together with its neighbours.
public struct TextSegment: Sendable {
    private enum Content: Sendable {
        case array([UInt8])
        case string(String)
        case buffer(GrowingBuffer<UInt8>)
    }

    private let content: Content
    /// Bytes of UTF-8.
    public let count: Int
    /// Whether names of special tokens in the text become those tokens. False for untrusted text.
    public let allowSpecial: Bool

    /// - Parameter bytes: UTF-8; invalid bytes are read as U+FFFD.
    public init(_ bytes: [UInt8], allowSpecial: Bool = true) {
        (content, count, self.allowSpecial) = (.array(bytes), bytes.count, allowSpecial)
    }

    public init(_ text: String, allowSpecial: Bool = true) {
        (content, count, self.allowSpecial) = (.string(text), text.utf8.count, allowSpecial)
    }

    /// - Parameter bytes: UTF-8, unchanged from now on; invalid bytes are read as U+FFFD.
    public init(_ bytes: GrowingBuffer<UInt8>, allowSpecial: Bool = true) {
        (content, count, self.allowSpecial) = (.buffer(bytes), bytes.count, allowSpecial)
    }

    func withBytes<R>(_ body: (UnsafeBufferPointer<UInt8>) throws -> R) rethrows -> R {
        switch content {
        case .array(let bytes): return try bytes.withUnsafeBufferPointer(body)
        case .string(var text): return try text.withUTF8(body)
        case .buffer(let bytes):
            defer { withExtendedLifetime(bytes) {} }
            return try body(UnsafeBufferPointer(bytes.elements))
        }
    }
}

/// Qwen2's byte-level BPE tokenizer (Hugging Face `Qwen2Tokenizer`): splits off added tokens, normalises the rest to
/// NFC, splits it by `PreTokenizer.pattern`, and merges bytes to tokens. Immutable, so threads can share a tokenizer.
///
/// For every vocabulary in use, encoding takes time proportional to the text, and some kilobytes beside the tokens.
public final class Tokenizer: Sendable {
    let vocabulary: Vocabulary
    private let specials: [[UInt8]: Int32]

    private init(_ vocabulary: Vocabulary) {
        self.vocabulary = vocabulary
        specials = Dictionary(
            vocabulary.added.map { ($0.content, Int32(truncatingIfNeeded: $0.id)) },
            uniquingKeysWith: { first, _ in first })
    }

    /// Reads the files of a published checkpoint.
    /// - Parameters:
    ///   - vocabJSON: `vocab.json`, an object of byte-mapped tokens → id.
    ///   - mergesText: `merges.txt`, in rank order.
    ///   - addedTokensJSON: `added_tokens.json`, an object of contents → id.
    ///   - tokenizerConfigJSON: `tokenizer_config.json`; its `added_tokens_decoder` declares added tokens too, and says
    ///     which of them are special.
    /// - Throws: `LyraError` naming the file and the reason.
    public convenience init(
        vocabJSON: NamedBytes, mergesText: NamedBytes, addedTokensJSON: NamedBytes? = nil,
        tokenizerConfigJSON: NamedBytes? = nil
    ) throws {
        var builder = VocabularyBuilder()
        try builder.readVocabulary(vocabJSON)
        try builder.readMerges(mergesText)
        if let addedTokensJSON { try builder.readAddedTokens(addedTokensJSON) }
        if let tokenizerConfigJSON { try builder.readConfiguration(tokenizerConfigJSON) }
        let addedSource = addedTokensJSON?.name ?? tokenizerConfigJSON?.name ?? vocabJSON.name
        self.init(
            try builder.build(
                vocabularySource: vocabJSON.name, mergesSource: mergesText.name, addedSource: addedSource))
    }

    /// Reads a Hugging Face `tokenizer.json` of a byte-level BPE with NFC and Qwen2's pattern.
    /// - Throws: `LyraError` naming the file and the reason; `.unsupported` for another kind of tokenizer.
    public convenience init(tokenizerJSON: NamedBytes) throws {
        var builder = VocabularyBuilder()
        try builder.readTokenizer(tokenizerJSON)
        let name = tokenizerJSON.name
        self.init(try builder.build(vocabularySource: name, mergesSource: name, addedSource: name))
    }

    /// Builds a tokenizer from lists, for example from GGUF metadata.
    /// - Parameters:
    ///   - tokens: byte-mapped tokens (UTF-8) and their ids.
    ///   - merges: pairs of byte-mapped tokens, in rank order.
    ///   - added: tokens outside BPE.
    ///   - source: the name of the file, for messages.
    public convenience init(
        tokens: some Sequence<(text: [UInt8], id: Int)>, merges: some Sequence<(left: [UInt8], right: [UInt8])>,
        added: [AddedToken] = [], source: String
    ) throws {
        var builder = VocabularyBuilder()
        for token in tokens { try builder.addToken(token.text, id: token.id, source: source) }
        for merge in merges { try builder.addMerge(merge.left, merge.right, source: source) }
        for token in added { try builder.addAdded(token, source: source) }
        self.init(try builder.build(vocabularySource: source, mergesSource: source, addedSource: source))
    }

    /// One more than the largest id. A model's embedding may have more rows, which are padding.
    public var vocabularySize: Int { vocabulary.places.count }

    /// The id of the added token with exactly this text (compared byte by byte), such as `<|im_end|>`.
    public func id(ofSpecial content: String) -> Int32? { specials[[UInt8](content.utf8)] }

    /// The bytes of a token: any bytes for a BPE token, the text for an added one; nil if no token has the id.
    public func bytes(of id: Int32) -> [UInt8]? {
        withBytes(of: id) { [UInt8]($0) }
    }

    /// The same without a copy: the bytes are valid during the call.
    func withBytes<R>(of id: Int32, _ body: (UnsafeBufferPointer<UInt8>) throws -> R) rethrows -> R? {
        guard id >= 0, id < vocabulary.places.count else { return nil }
        let place = vocabulary.places[Int(id)]
        return place.count == 0 ? nil : try body(UnsafeBufferPointer(rebasing: vocabulary.bytes.elements[place.range]))
    }

    /// Whether the id belongs to a special added token.
    public func isSpecial(_ id: Int32) -> Bool {
        id >= 0 && id < vocabulary.special.count && vocabulary.special[Int(id)]
    }

    /// The tokens of UTF-8 text; invalid bytes are read as U+FFFD.
    ///
    /// - Parameter allowSpecial: whether names of special tokens in the text become those tokens, as in the reference.
    /// - Throws: the errors of `encode` for segments.
    public func encode(_ text: some Sequence<UInt8>, allowSpecial: Bool = true) throws -> [Int32] {
        try encode([TextSegment([UInt8](text), allowSpecial: allowSpecial)])
    }

    /// The tokens of a text.
    public func encode(_ text: String, allowSpecial: Bool = true) throws -> [Int32] {
        try encode([TextSegment(text, allowSpecial: allowSpecial)])
    }

    /// The tokens of the segments' joined text. A special token is recognized only if its whole name lies in segments
    /// that allow it. Otherwise the borders of segments do not matter.
    ///
    /// - Throws: `LyraError.memory`, and `.state` if the work is interrupted.
    public func encode(_ segments: [TextSegment]) throws -> [Int32] {
        let output = GrowingBuffer<Int32>()
        var encoding = encoding(of: segments)
        while !encoding.isDone { try encoding.step(into: output) }
        return Array(output.elements)
    }

    /// The same in steps.
    public func encoding(of segments: [TextSegment]) -> TextEncoding { TextEncoding(vocabulary, segments) }
}
