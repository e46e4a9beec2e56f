import LyraFormats

/// How texts are made comparable before their words are.
package struct TextNormalizer {
    package enum Kind: String, Sendable, CaseIterable {
        /// What Lyra's published evaluation does.
        case reference
        /// What Whisper's does.
        case whisper
        /// Nothing: words are what stands between white space.
        case none
    }

    var kind: Kind
    var whisper = WhisperNormalizer()

    init(_ kind: Kind) { self.kind = kind }

    /// - Parameter spellings: a JSON file, an object of spellings and what is written in their place, for `whisper`
    package init(_ kind: Kind, spellings: String?) throws {
        self.init(kind)
        if let spellings { whisper.spellings = try JSONFile.decode([String: String].self, path: spellings) }
    }

    /// The words that are compared.
    func words(_ text: String) -> [String] {
        switch kind {
        case .reference: Self.reference(text)
        case .whisper: ScalarText(whisper(text)).words
        case .none: ScalarText(text).words
        }
    }

    /// jiwer's `wer_standardize` after the `remove_punc` of lyra/eval/eval_asr_wer.py: small letters, contractions
    /// written out, what is between brackets removed. Punctuation stays: `remove_punc` means to take it away, but what
    /// its expression matches occurs in no speech. (The published model writes none when it transcribes.)
    private static func reference(_ string: String) -> [String] {
        var text = ScalarText(string)
        removePunctuation(&text)
        text = ScalarText(text.string.lowercased())
        for (literal, replacement) in contractions {
            let literal = Array(literal.unicodeScalars), replacement = Array(replacement.unicodeScalars)
            text.replace { text, index in text.has(literal, at: index) ? (index + literal.count, replacement) : nil }
        }
        text.removeBetween(["<", "["], [">", "]"], emptyToo: true)
        // White space that is not ASCII's goes from the ends; elsewhere it parts words if there is more of it than one.
        text.replace { text, index in
            let end = text.skipSpace(index)
            return end > index + 1 ? (end, [" "]) : nil
        }
        guard let first = text.scalars.firstIndex(where: { !$0.isSpace }),
            let last = text.scalars.lastIndex(where: { !$0.isSpace })
        else { return [] }
        return text.scalars[first...last].split { [9, 10, 11, 12, 13, 32].contains($0.value) }
            .map { String(String.UnicodeScalarView($0)) }
    }

    private static let contractions = [
        ("won't", "will not"), ("can't", "can not"), ("let's", "let us"), ("n't", " not"), ("'re", " are"),
        ("'s", " is"), ("'d", " would"), ("'ll", " will"), ("'t", " not"), ("'ve", " have"), ("'m", " am"),
    ]

    /// `[,.!']+"<>?~*`: one or more of the first four, then a quotation mark and a bracket, in this order.
    private static func removePunctuation(_ text: inout ScalarText) {
        let first: Set<Unicode.Scalar> = [",", ".", "!", "'"]
        text.replace { text, start in
            var index = start
            while let scalar = text[index], first.contains(scalar) { index += 1 }
            guard index > start, text[index] == "\"", text[index + 1] == "<" else { return nil }
            index += 2
            if text[index] == ">" { index += 1 }
            while text[index] == "~" { index += 1 }
            return (index, [])
        }
    }
}
