import LyraBase

/// The tables of a checked byte-level BPE vocabulary.
struct Vocabulary: Sendable {
    /// The range of a token's bytes.
    struct Place: BitwiseCopyable {
        var start = 0
        var count = 0

        var range: Range<Int> { start..<start + count }
    }

    /// The bytes of all tokens, one after the other.
    let bytes: GrowingBuffer<UInt8>
    /// The place of each id; empty for an id without a token.
    let places: GrowingBuffer<Place>
    /// Whether each id is a special added token.
    let special: GrowingBuffer<Bool>
    /// The token of each single byte.
    var byteIDs: [Int32]
    var merges: MergeTable
    var added: [AddedToken]
    var addedTrie: AddedTokenTrie
    /// Bytes of the longest token.
    var longestToken = 0
}

/// Collects tokens, merges and added tokens from any of the file formats, then checks them together.
struct VocabularyBuilder {
    /// Bound for ids, four times the largest published vocabularies. A larger id means a damaged file.
    static let idLimit = 1 << 20
    /// Maximum merges: the merge queue's keys have 24 bits for the rank.
    static let mergeLimit = 1 << 24

    fileprivate struct Token: BitwiseCopyable {
        let place: Vocabulary.Place
        let id: Int32

        var range: Range<Int> { place.range }
    }

    private struct Merge: BitwiseCopyable {
        let start: Int
        let middle: Int
        let end: Int
    }

    private let bytes = GrowingBuffer<UInt8>()
    private let tokens = GrowingBuffer<Token>()
    private let merges = GrowingBuffer<Merge>()
    private var added: [AddedToken] = []
    private var addedIndexByID: [Int: Int] = [:]

    private static func quoted(_ text: some Collection<UInt8>) -> String {
        shown(String(decoding: text.prefix(80), as: UTF8.self))
    }

    private static func checkID(_ id: Int, of text: some Collection<UInt8>, source: String) throws -> Int32 {
        guard id >= 0, id < idLimit else {
            throw LyraError(
                .format, "\(source): token \(quoted(text)) has the id \(id), which is not in 0..<\(idLimit)")
        }
        return Int32(truncatingIfNeeded: id)
    }

    /// Adds a token written in the byte alphabet.
    mutating func addToken(_ text: some Collection<UInt8>, id: Int, source: String) throws {
        let id = try Self.checkID(id, of: text, source: source)
        let start = bytes.count
        guard try ByteAlphabet.decode(text, into: bytes) else {
            throw LyraError(
                .format, "\(source): token \(Self.quoted(text)) holds a character outside the byte-level alphabet")
        }
        guard bytes.count > start else { throw LyraError(.format, "\(source): token \(id) is empty") }
        try tokens.append(Token(place: .init(start: start, count: bytes.count - start), id: id))
    }

    /// Adds the next merge of two tokens written in the byte alphabet.
    mutating func addMerge(_ left: some Collection<UInt8>, _ right: some Collection<UInt8>, source: String) throws {
        guard merges.count < Self.mergeLimit else {
            throw LyraError(.unsupported, "\(source): more than \(Self.mergeLimit) merges")
        }
        let start = bytes.count
        let leftFits = try ByteAlphabet.decode(left, into: bytes)
        let middle = bytes.count
        guard leftFits, try ByteAlphabet.decode(right, into: bytes), middle > start, bytes.count > middle else {
            throw LyraError(
                .format,
                "\(source): merge \(merges.count) (\(Self.quoted(left)) and \(Self.quoted(right))) has an empty "
                    + "token or a character outside the byte-level alphabet")
        }
        try merges.append(Merge(start: start, middle: middle, end: bytes.count))
    }

    /// Adds a token outside BPE. Several files may declare the same token; the last value of `isSpecial` counts.
    mutating func addAdded(_ declared: AddedToken, source: String) throws {
        let token = AddedToken(
            content: declared.content, id: declared.id,
            isSpecial: declared.isSpecial || ChatTemplate.controlTokens.contains(declared.content))
        _ = try Self.checkID(token.id, of: token.content, source: source)
        guard !token.content.isEmpty, token.content.count <= AddedTokenTrie.lengthLimit else {
            throw LyraError(
                .format, "\(source): added token \(token.id) is not 1 to \(AddedTokenTrie.lengthLimit) bytes long")
        }
        guard String(validating: token.content, as: UTF8.self) != nil else {
            throw LyraError(.format, "\(source): added token \(token.id) is not UTF-8")
        }
        guard let index = addedIndexByID[token.id] else {
            addedIndexByID[token.id] = added.count
            added.append(token)
            return
        }
        guard added[index].content == token.content else {
            throw LyraError(
                .format,
                "\(source): the id \(token.id) is given to \(Self.quoted(added[index].content)) and to "
                    + Self.quoted(token.content))
        }
        added[index] = token
    }

    /// Checks the lists against one another and builds the tables. The sources are file names for messages.
    func build(vocabularySource: String, mergesSource: String, addedSource: String) throws -> Vocabulary {
        let known = UnsafeBufferPointer(tokens.elements)
        let idCount = max(known.lazy.map { Int($0.id) }.max() ?? -1, added.lazy.map(\.id).max() ?? -1) + 1
        let places = try GrowingBuffer(repeating: Vocabulary.Place(), count: idCount)
        for token in known {
            let slot = Int(token.id)
            guard places[slot].count == 0 else {
                throw LyraError(.format, "\(vocabularySource): two tokens have the id \(token.id)")
            }
            places[slot] = token.place
        }
        let finder = try TokenFinder(known, UnsafeBufferPointer(bytes.elements), source: vocabularySource)
        var result = Vocabulary(
            bytes: bytes, places: places, special: try GrowingBuffer(repeating: false, count: idCount),
            byteIDs: try Self.byteIDs(finder, source: vocabularySource),
            merges: try mergeTable(finder, source: mergesSource), added: added, addedTrie: AddedTokenTrie())
        try Self.insert(added, into: &result, source: addedSource)
        bytes.shrink()
        result.longestToken = places.elements.lazy.map(\.count).max() ?? 0
        return result
    }

    private static func byteIDs(_ tokens: TokenFinder, source: String) throws -> [Int32] {
        try (UInt8.min...UInt8.max).map { byte in
            guard let id = withUnsafeBytes(of: byte, { tokens.id(of: $0) }) else {
                throw LyraError(
                    .format, "\(source): the single byte \(byte) has no token, so some text could not be encoded")
            }
            return id
        }
    }

    private func mergeTable(_ tokens: TokenFinder, source: String) throws -> MergeTable {
        let table = try MergeTable(count: merges.count)
        let bytes = UnsafeBufferPointer(bytes.elements)
        for (rank, merge) in merges.elements.enumerated() {
            func id(_ range: Range<Int>) throws -> Int32 {
                let text = UnsafeBufferPointer(rebasing: bytes[range])
                if let id = tokens.id(of: UnsafeRawBufferPointer(text)) { return id }
                throw LyraError(
                    .format, "\(source): merge \(rank) needs \(Self.quoted(text)), which is not in the vocabulary")
            }
            let left = try id(merge.start..<merge.middle)
            let right = try id(merge.middle..<merge.end)
            let result = try id(merge.start..<merge.end)
            let entry = MergeTable.Merge(rank: UInt32(truncatingIfNeeded: rank), result: result)
            guard table.insert(left, right, entry) else {
                throw LyraError(
                    .format,
                    "\(source): merge \(rank) of \(Self.quoted(bytes[merge.start..<merge.middle])) and "
                        + "\(Self.quoted(bytes[merge.middle..<merge.end])) appears twice")
            }
        }
        return table
    }

    private static func insert(_ added: [AddedToken], into result: inout Vocabulary, source: String) throws {
        var contents: Set<[UInt8]> = []
        for (index, token) in added.enumerated() {
            guard contents.insert(token.content).inserted else {
                throw LyraError(.format, "\(source): added token \(quoted(token.content)) has two ids")
            }
            let start = result.bytes.count
            // An added token may also be in the vocabulary, under the same id.
            let before = result.places[token.id]
            guard before.count == 0 || result.bytes.elements[before.range].elementsEqual(token.content) else {
                throw LyraError(
                    .format,
                    "\(source): added token \(quoted(token.content)) has the id \(token.id) of another token")
            }
            try result.bytes.append(token.content)
            result.places[token.id] = .init(start: start, count: token.content.count)
            result.special[token.id] = token.isSpecial
            result.addedTrie.insert(token.content, token: Int32(truncatingIfNeeded: index))
        }
    }
}

/// Finds tokens by their bytes: open addressing over indices of the tokens, at most half full.
private struct TokenFinder {
    private let bytes: UnsafeBufferPointer<UInt8>
    private let tokens: UnsafeBufferPointer<VocabularyBuilder.Token>
    /// An index, or −1.
    private let slots: GrowingBuffer<Int32>

    /// - Parameters:
    ///   - bytes, tokens: must outlive the finder
    /// - Throws: `LyraError.format` if two tokens have the same bytes, `.memory` if there is no room.
    init(
        _ tokens: UnsafeBufferPointer<VocabularyBuilder.Token>, _ bytes: UnsafeBufferPointer<UInt8>, source: String
    ) throws {
        (self.bytes, self.tokens) = (bytes, tokens)
        var size = 16
        while size < tokens.count * 2 { size *= 2 }
        slots = try GrowingBuffer(repeating: -1, count: size)
        for (index, token) in tokens.enumerated() {
            let slot = slot(of: UnsafeRawBufferPointer(UnsafeBufferPointer(rebasing: bytes[token.range])))
            guard slots[slot] < 0 else {
                throw LyraError(
                    .format,
                    "\(source): the ids \(tokens[Int(slots[slot])].id) and \(token.id) stand for the same token")
            }
            slots[slot] = Int32(truncatingIfNeeded: index)
        }
    }

    func id(of text: UnsafeRawBufferPointer) -> Int32? {
        let index = slots[slot(of: text)]
        return index < 0 ? nil : tokens[Int(index)].id
    }

    /// The slot that holds the token, or the vacant one where it belongs.
    private func slot(of text: UnsafeRawBufferPointer) -> Int {
        // Seeded at random for each process, so that no file can make all tokens collide.
        var hasher = Hasher()
        hasher.combine(bytes: text)
        var slot = hasher.finalize() & (slots.count - 1)
        while slots[slot] >= 0, !bytes[tokens[Int(slots[slot])].range].elementsEqual(text) {
            slot = (slot + 1) & (slots.count - 1)
        }
        return slot
    }
}
