/// A vocabulary as lists, as other programs' files store it.
public struct VocabularyListing: Sendable {
    /// A token's kind.
    public enum Kind: Sendable {
        /// Merged from bytes; written in the byte alphabet.
        case normal
        /// Added, and omitted from displayed text.
        case special
        /// Added, and displayed.
        case added
        /// An id without a token.
        case unused
    }

    /// Text and kind of every id, from 0 on.
    public var tokens: [(text: String, kind: Kind)]
    /// Pairs in rank order, their tokens written in the byte alphabet and separated by a space.
    public var merges: [String]
}

extension Tokenizer {
    /// The whole vocabulary, for writing a file.
    ///
    /// - Parameter rows: number of ids; an id without a token is named after its number, `[PAD7]`
    public func listing(rows: Int) -> VocabularyListing {
        var tokens = (0..<max(rows, vocabularySize)).map { id in
            let bytes = id < vocabularySize ? bytes(of: Int32(truncatingIfNeeded: id)) : nil
            return bytes.map { (text: ByteAlphabet.encode($0), kind: VocabularyListing.Kind.normal) }
                ?? (text: "[PAD\(id)]", kind: .unused)
        }
        for token in vocabulary.added {
            tokens[token.id] = (String(decoding: token.content, as: UTF8.self), token.isSpecial ? .special : .added)
        }
        let merges = vocabulary.merges.all.sorted { $0.rank < $1.rank }.map { merge in
            [merge.left, merge.right].map { ByteAlphabet.encode(bytes(of: $0) ?? []) }.joined(separator: " ")
        }
        return VocabularyListing(tokens: tokens, merges: merges)
    }
}
