import LyraFormats

/// Normalizes texts before their words are compared.
package struct TextNormalizer {
    package enum Kind: String, Sendable, CaseIterable {
        /// As in Lyra's published evaluation.
        case reference
        /// As in Whisper's evaluation.
        case whisper
        /// Only splits at white space.
        case none
    }

    var kind: Kind
    var whisper = WhisperNormalizer()

    init(_ kind: Kind) { self.kind = kind }

    /// - Parameter spellings: for `whisper`, a JSON file with an object from spellings to their replacements
    package init(_ kind: Kind, spellings: String?) throws {
        self.init(kind)
        if let spellings { whisper.spellings = try JSONFile.decode([String: String].self, path: spellings) }
    }

    /// The normalized words of a text.
    package func words(_ text: String) -> [String] {
        switch kind {
        case .reference: Self.reference(text)
        case .whisper: ScalarText(whisper(text)).words
        case .none: ScalarText(text).words
        }
    }

    /// `remove_punc` of lyra/eval/eval_asr_wer.py, then jiwer's `wer_standardize`: lower case, contractions written
    /// out, text in brackets removed. Punctuation stays, because the expression of `remove_punc` matches nothing that
    /// occurs in transcripts. (The published model transcribes without punctuation.)
    private static func reference(_ string: String) -> [String] {
        var text = ScalarText(string)
        removePunctuation(&text)
        text = ScalarText(text.string.lowercased())
        for (literal, replacement) in contractions {
            let literal = Array(literal.unicodeScalars), replacement = Array(replacement.unicodeScalars)
            text.replace { text, index in text.has(literal, at: index) ? (index + literal.count, replacement) : nil }
        }
        text.removeBetween(["<", "["], [">", "]"], emptyToo: true)
        // Two or more white-space characters separate words. A single one that is not ASCII does not, but is stripped
        // from the ends.
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

    /// Removes matches of `[,.!']+"<>?~*`: one or more of the first four, then `"<`, an optional `>`, then any number
    /// of `~`.
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
