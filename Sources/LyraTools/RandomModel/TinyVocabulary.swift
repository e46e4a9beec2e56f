import LyraText

/// A vocabulary for test checkpoints: the 256 bytes, a few merges of English, and Qwen2's special tokens.
struct TinyVocabulary {
    /// Merges, most common first. Byte-level BPE writes a space as Ġ.
    private static let merges = """
        Ġ t|Ġ a|h e|i n|r e|o n|Ġt he|e r|Ġ s|a t|Ġ w|Ġ o|e n|Ġ c|i t|i s|a n|o r|e s|Ġ b|e d|Ġ f|in g|Ġ p|o u|Ġ h|\
        Ġa n|Ġ m|a l|a r|Ġt o|Ġo f|Ġan d|Ġ d|Ġ in|l e|o m|Ġ l|Ġ n|i c|Ġ I|Ġ y|Ġy ou|l l|Ġ is|s t|Ġ e|r o|Ġ re|u t|Ġ g|\
        v e|Ġ it|a y|i d|o t|e l|Ġw h|H e|He l|Hel l|Hell o|Ġa re|W h|Wh at|Ġs a
        """.split(separator: "|").map { $0.split(separator: " ").map(String.init) }

    /// Byte-mapped tokens in the order of their ids.
    let tokens: [String]
    let merges: [(String, String)]

    init() {
        // GPT-2's mapping: printable bytes become the same code points, other bytes code points from 256 on.
        var next: UInt32 = 256
        var tokens = (0...255).map { (byte: UInt32) -> String in
            let isPrintable = (33...126).contains(byte) || (161...172).contains(byte) || (174...255).contains(byte)
            if !isPrintable { next += 1 }
            return Unicode.Scalar(isPrintable ? byte : next - 1).map { String($0) } ?? ""
        }
        merges = Self.merges.filter { $0.count == 2 }.map { ($0[0], $0[1]) }
        tokens += merges.map { $0 + $1 }
        self.tokens = tokens
    }

    /// Special tokens with their ids, which follow the others.
    var added: [(text: String, id: Int)] { AddedTokens.published.enumerated().map { ($1, tokens.count + $0) } }

    func id(_ special: String) -> Int { added.first { $0.text == special }?.id ?? 0 }

    func tokenizer() throws -> Tokenizer {
        try Tokenizer(
            tokens: tokens.enumerated().map { (Array($1.utf8), $0) },
            merges: merges.map { (Array($0.utf8), Array($1.utf8)) },
            added: added.map { AddedToken(content: Array($0.text.utf8), id: $0.id) }, source: "the tiny vocabulary")
    }
}
