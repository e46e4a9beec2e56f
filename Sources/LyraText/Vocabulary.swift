import LyraTensor

/// The tables of a checked byte-level BPE vocabulary.
struct Vocabulary: Sendable {
    /// The bytes of all tokens, one after the other; `ranges[id]` is empty where no token has the id.
    var bytes: [UInt8]
    var ranges: [Range<Int>]
    /// Which ids are special added tokens.
    var special: [Bool]
    /// The token of each single byte.
    var byteIDs: [Int32]
    var merges: MergeTable
    var added: [AddedToken]
    var addedTrie: AddedTokenTrie
    /// Bytes of the longest token.
    var longestToken = 0
}

/// Collects tokens, merges and added tokens from any of the file forms, then checks them together.
struct VocabularyBuilder {
    /// Ids from here on are taken for damage: the largest published vocabularies hold a quarter of this.
    static let idLimit = 1 << 20
    /// What the merge queue's keys have room for.
    static let mergeLimit = 1 << 24

    private struct Token {
        let range: Range<Int>
        let id: Int32
    }

    private struct Merge {
        let start: Int
        let middle: Int
        let end: Int
    }

    private var bytes: [UInt8] = []
    private var tokens: [Token] = []
    private var merges: [Merge] = []
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
        guard ByteAlphabet.decode(text, into: &bytes) else {
            throw LyraError(
                .format, "\(source): token \(Self.quoted(text)) holds a character outside the byte-level alphabet")
        }
        guard bytes.count > start else { throw LyraError(.format, "\(source): token \(id) is empty") }
        tokens.append(Token(range: start..<bytes.count, id: id))
    }

    /// Adds the next merge, its parts written in the byte alphabet.
    mutating func addMerge(_ left: some Collection<UInt8>, _ right: some Collection<UInt8>, source: String) throws {
        guard merges.count < Self.mergeLimit else {
            throw LyraError(.unsupported, "\(source): more than \(Self.mergeLimit) merges")
        }
        let start = bytes.count
        let leftFits = ByteAlphabet.decode(left, into: &bytes)
        let middle = bytes.count
        guard leftFits, ByteAlphabet.decode(right, into: &bytes), middle > start, bytes.count > middle else {
            throw LyraError(
                .format,
                "\(source): merge \(merges.count) (\(Self.quoted(left)) and \(Self.quoted(right))) has an empty part or "
                    + "a character outside the byte-level alphabet")
        }
        merges.append(Merge(start: start, middle: middle, end: bytes.count))
    }

    /// Adds a token outside BPE. The same token may come from several files; a later word on `isSpecial` counts.
    mutating func addAdded(_ token: AddedToken, source: String) throws {
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

    /// Checks everything against everything and makes the tables. The names are those of the files that errors blame.
    func build(vocabularySource: String, mergesSource: String, addedSource: String) throws -> Vocabulary {
        let idCount = max(tokens.lazy.map { Int($0.id) }.max() ?? -1, added.lazy.map(\.id).max() ?? -1) + 1
        var ranges = [Range<Int>](repeating: 0..<0, count: idCount)
        for token in tokens {
            let slot = Int(token.id)
            guard ranges[slot].isEmpty else {
                throw LyraError(.format, "\(vocabularySource): two tokens have the id \(token.id)")
            }
            ranges[slot] = token.range
        }
        let (byteIDs, table) = try bytes.withUnsafeBytes { raw in
            let ids = try indexByBytes(raw, source: vocabularySource)
            return (
                try Self.byteIDs(ids, source: vocabularySource),
                try mergeTable(raw, ids, source: mergesSource)
            )
        }
        var result = Vocabulary(
            bytes: bytes, ranges: ranges, special: [Bool](repeating: false, count: idCount), byteIDs: byteIDs,
            merges: table, added: added, addedTrie: AddedTokenTrie())
        try Self.place(added, into: &result, source: addedSource)
        result.longestToken = result.ranges.lazy.map(\.count).max() ?? 0
        return result
    }

    /// Token bytes → id. The keys point into `raw`.
    private func indexByBytes(_ raw: UnsafeRawBufferPointer, source: String) throws -> [ByteKey: Int32] {
        var ids: [ByteKey: Int32] = [:]
        ids.reserveCapacity(tokens.count)
        for token in tokens {
            let key = ByteKey(bytes: UnsafeRawBufferPointer(rebasing: raw[token.range]))
            if let other = ids.updateValue(token.id, forKey: key) {
                throw LyraError(.format, "\(source): the ids \(other) and \(token.id) stand for the same token")
            }
        }
        return ids
    }

    private static func byteIDs(_ ids: [ByteKey: Int32], source: String) throws -> [Int32] {
        try (UInt8.min...UInt8.max).map { byte in
            let id = withUnsafeBytes(of: byte) { ids[ByteKey(bytes: $0)] }
            guard let id else {
                throw LyraError(.format, "\(source): no token stands for the single byte \(byte), so not all text fits")
            }
            return id
        }
    }

    private func mergeTable(
        _ raw: UnsafeRawBufferPointer, _ ids: [ByteKey: Int32], source: String
    ) throws -> MergeTable {
        var table = MergeTable(count: merges.count)
        for (rank, merge) in merges.enumerated() {
            func id(_ range: Range<Int>) throws -> Int32 {
                if let id = ids[ByteKey(bytes: UnsafeRawBufferPointer(rebasing: raw[range]))] { return id }
                throw LyraError(
                    .format, "\(source): merge \(rank) needs \(Self.quoted(raw[range])), which is not in the vocabulary"
                )
            }
            let left = try id(merge.start..<merge.middle)
            let right = try id(merge.middle..<merge.end)
            let result = try id(merge.start..<merge.end)
            let entry = MergeTable.Merge(rank: UInt32(truncatingIfNeeded: rank), result: result)
            guard table.insert(left, right, entry) else {
                throw LyraError(
                    .format,
                    "\(source): merge \(rank) of \(Self.quoted(raw[merge.start..<merge.middle])) and "
                        + "\(Self.quoted(raw[merge.middle..<merge.end])) is there twice")
            }
        }
        return table
    }

    private static func place(_ added: [AddedToken], into result: inout Vocabulary, source: String) throws {
        var contents: Set<[UInt8]> = []
        for (index, token) in added.enumerated() {
            guard contents.insert(token.content).inserted else {
                throw LyraError(.format, "\(source): added token \(quoted(token.content)) has two ids")
            }
            let start = result.bytes.count
            // An added token may also be in the vocabulary, under the same id.
            guard result.ranges[token.id].isEmpty || result.bytes[result.ranges[token.id]].elementsEqual(token.content)
            else {
                throw LyraError(
                    .format,
                    "\(source): added token \(quoted(token.content)) has the id \(token.id) of another token")
            }
            result.bytes.append(contentsOf: token.content)
            result.ranges[token.id] = start..<result.bytes.count
            result.special[token.id] = token.isSpecial
            result.addedTrie.insert(token.content, token: Int32(truncatingIfNeeded: index))
        }
    }
}

/// A run of bytes as a dictionary key, without a copy; valid only as long as the memory it points to.
private struct ByteKey: Hashable {
    let bytes: UnsafeRawBufferPointer

    static func == (left: ByteKey, right: ByteKey) -> Bool {
        left.bytes.count == right.bytes.count && left.bytes.elementsEqual(right.bytes)
    }

    func hash(into hasher: inout Hasher) {
        hasher.combine(bytes: bytes)
        hasher.combine(bytes.count)
    }
}
