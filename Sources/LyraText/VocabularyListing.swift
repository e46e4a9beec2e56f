/// A vocabulary as lists, the form that other programs' files hold it in.
public struct VocabularyListing: Sendable {
    /// What a token is.
    public enum Kind: Sendable {
        /// Merged from bytes; written in the byte alphabet.
        case normal
        /// Added, and left out of what a person reads.
        case special
        /// Added, and part of what a person reads.
        case added
        /// An id that no token has.
        case unused
    }

    /// Text and kind of every id, from 0 on.
    public var tokens: [(text: String, kind: Kind)]
    /// Pairs in rank order, their parts written in the byte alphabet and separated by a space.
    public var merges: [String]
}

extension Tokenizer {
    /// Everything that this tokenizer knows, for writing it down.
    ///
    /// - Parameter rows: how many ids there are to be; those without a token are called `[PAD7]` by their number
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
