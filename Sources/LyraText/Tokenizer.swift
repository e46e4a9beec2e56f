import LyraTensor

/// A piece of text to be tokenized together with its neighbours.
public struct TextSegment: Sendable {
    /// UTF-8; what is not is read as U+FFFD.
    public let bytes: [UInt8]
    /// Whether the texts of special tokens stand for those tokens. Say false for text from an untrusted person.
    public let allowSpecial: Bool

    public init(_ bytes: [UInt8], allowSpecial: Bool = true) {
        self.bytes = bytes
        self.allowSpecial = allowSpecial
    }

    public init(_ text: String, allowSpecial: Bool = true) {
        self.init([UInt8](text.utf8), allowSpecial: allowSpecial)
    }
}

/// Qwen2's byte-level BPE tokenizer (Hugging Face `Qwen2Tokenizer`): added tokens are split off, the rest is brought to
/// NFC, cut by `PreTokenizer.pattern`, and merged from bytes to tokens. Immutable, so that threads may share one.
///
/// Encoding takes O(n log n) time at worst, O(n) on ordinary text, and memory proportional to the text.
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

    /// Takes the parts of a vocabulary as they are found, for instance, in GGUF metadata.
    /// - Parameters:
    ///   - tokens: byte-mapped tokens (UTF-8) and their ids.
    ///   - merges: byte-mapped parts, in rank order.
    ///   - added: tokens outside BPE.
    ///   - source: the name that error messages give all this.
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

    /// One more than the largest id. A model's embedding may have more rows; the rest is padding.
    public var vocabularySize: Int { vocabulary.ranges.count }

    /// The id of the added token with just this text (compared byte by byte), such as `<|im_end|>`.
    public func id(ofSpecial content: String) -> Int32? { specials[[UInt8](content.utf8)] }

    /// The bytes of a token: any bytes for a BPE token, the text for an added one; nil if no token has the id.
    public func bytes(of id: Int32) -> [UInt8]? {
        guard id >= 0, id < vocabulary.ranges.count, !vocabulary.ranges[Int(id)].isEmpty else { return nil }
        return [UInt8](vocabulary.bytes[vocabulary.ranges[Int(id)]])
    }

    /// Whether the id is that of a special added token.
    public func isSpecial(_ id: Int32) -> Bool {
        id >= 0 && id < vocabulary.special.count && vocabulary.special[Int(id)]
    }

    /// The tokens of UTF-8 text; what is not UTF-8 is read as U+FFFD.
    /// - Parameter allowSpecial: whether the texts of special tokens stand for those tokens, as in the reference.
    public func encode(_ text: some Sequence<UInt8>, allowSpecial: Bool = true) -> [Int32] {
        encode([TextSegment([UInt8](text), allowSpecial: allowSpecial)])
    }

    /// The tokens of a text.
    public func encode(_ text: String, allowSpecial: Bool = true) -> [Int32] {
        encode([TextSegment(text, allowSpecial: allowSpecial)])
    }

    /// The tokens of the segments' joined text. A special token counts only where its whole text lies in segments that
    /// allow it; in every other way it is as if the segments were one text.
    public func encode(_ segments: [TextSegment]) -> [Int32] {
        var text: [UInt8] = []
        var zones: [(range: Range<Int>, allowSpecial: Bool)] = []
        for segment in segments where !segment.bytes.isEmpty {
            let start = text.count
            if segment.bytes.allSatisfy({ $0 < 0x80 }) {
                text.append(contentsOf: segment.bytes)
            } else {
                text.append(contentsOf: String(decoding: segment.bytes, as: UTF8.self).utf8)
            }
            if let last = zones.indices.last, zones[last].allowSpecial == segment.allowSpecial {
                zones[last].range = zones[last].range.lowerBound..<text.count
            } else {
                zones.append((start..<text.count, segment.allowSpecial))
            }
        }
        return text.withUnsafeBufferPointer { encode($0, zones: zones) }
    }

    /// - Parameter text: valid UTF-8.
    private func encode(
        _ text: UnsafeBufferPointer<UInt8>, zones: [(range: Range<Int>, allowSpecial: Bool)]
    ) -> [Int32] {
        var output: [Int32] = []
        output.reserveCapacity(text.count / 4)
        var merger = ByteMerger(merges: vocabulary.merges, byteIDs: vocabulary.byteIDs)
        var plainStart = 0
        let added = vocabulary.added
        for zone in zones {
            var rest = zone.range
            while let match = vocabulary.addedTrie.firstMatch(
                in: text, rest, accept: { zone.allowSpecial || !added[$0].isSpecial })
            {
                encodePlain(text[plainStart..<match.range.lowerBound], &merger, into: &output)
                output.append(Int32(truncatingIfNeeded: added[match.token].id))
                plainStart = match.range.upperBound
                rest = plainStart..<rest.upperBound
            }
        }
        encodePlain(text[plainStart...], &merger, into: &output)
        return output
    }

    /// Appends the tokens of text without added tokens.
    private func encodePlain(
        _ text: Slice<UnsafeBufferPointer<UInt8>>, _ merger: inout ByteMerger, into output: inout [Int32]
    ) {
        let text = UnsafeBufferPointer(rebasing: text)
        if let normalised = Normalization.nfc(text) {
            normalised.withUnsafeBufferPointer { Self.encodeNormalised($0, &merger, into: &output) }
        } else {
            Self.encodeNormalised(text, &merger, into: &output)
        }
    }

    private static func encodeNormalised(
        _ text: UnsafeBufferPointer<UInt8>, _ merger: inout ByteMerger, into output: inout [Int32]
    ) {
        let preTokenizer = PreTokenizer(text)
        var start = 0
        while start < text.count {
            let end = preTokenizer.pieceEnd(from: start)
            merger.merge(text[start..<end], into: &output)
            start = end
        }
    }
}
