/// Normalizes English text as Whisper's evaluation does: lower case, no punctuation, contractions written out, numbers
/// in digits, American spelling.
///
/// Equivalent to `EnglishTextNormalizer` of OpenAI's Whisper (appendix C of arXiv 2212.04356).
struct WhisperNormalizer {
    /// Spellings and their replacements; published beside Whisper's weights as `normalizer.json`.
    var spellings: [String: String] = [:]

    func callAsFunction(_ string: String) -> String {
        var text = ScalarText(string.lowercased())
        text.removeBetween(["<", "["], [">", "]"], emptyToo: true)
        text.removeBetween(["("], [")"], emptyToo: false)
        text.replace { text, index in
            guard text.isBoundary(index) else { return nil }
            let word = Self.hesitations.first { text.has($0, at: index) && text.isBoundary(index + $0.count) }
            return word.map { (index + $0.count, []) }
        }
        text.replace { text, index in
            let end = text.skipSpace(index)
            return end > index && text[end] == "'" ? (end + 1, ["'"]) : nil
        }
        for (literal, replacement) in Self.words { text.replace(literal, with: replacement, wholeWord: true) }
        for (literal, replacement) in Self.endings { text.replace(literal, with: replacement, wholeWord: false) }
        Self.removePunctuation(&text)
        text = NumberReader.rewrite(text)
        text = ScalarText(text.words.map { spellings[$0] ?? $0 }.joined(separator: " "))
        Self.removeLoneSymbols(&text)
        return text.string
    }

    private static let hesitations = ["hmm", "mm", "mhm", "mmm", "uh", "um"].map { Array($0.unicodeScalars) }

    /// Whole words and their replacements, in the order of replacement.
    private static let words = [
        ("won't", "will not"), ("can't", "can not"), ("let's", "let us"), ("ain't", "aint"), ("y'all", "you all"),
        ("wanna", "want to"), ("kinda", "kind of"), ("sorta", "sort of"), ("dunno", "do not know"), ("gotta", "got to"),
        ("gonna", "going to"), ("i'ma", "i am going to"), ("imma", "i am going to"), ("woulda", "would have"),
        ("coulda", "could have"), ("shoulda", "should have"), ("cause", "because"), ("ma'am", "madam"),
        ("mr", "mister "), ("mrs", "missus "), ("st", "saint "), ("dr", "doctor "), ("prof", "professor "),
        ("capt", "captain "), ("gov", "governor "), ("ald", "alderman "), ("gen", "general "), ("sen", "senator "),
        ("rep", "representative "), ("pres", "president "), ("rev", "reverend "), ("hon", "honorable "),
        ("asst", "assistant "), ("assoc", "associate "), ("lt", "lieutenant "), ("col", "colonel "), ("jr", "junior "),
        ("sr", "senior "), ("esq", "esquire "),
    ]

    /// Ends of words and their replacements, in the order of replacement.
    private static let endings = [
        ("'d been", " had been"), ("'s been", " has been"), ("'d gone", " had gone"), ("'s gone", " has gone"),
        ("'d done", " had done"), ("'s got", " has got"), ("n't", " not"), ("'re", " are"), ("'s", " is"),
        ("'d", " would"), ("'ll", " will"), ("'t", " not"), ("'ve", " have"), ("'m", " am"),
    ]

    /// Removes commas inside numbers. Replaces marks, symbols and punctuation with spaces, except what a number can
    /// contain.
    private static func removePunctuation(_ text: inout ScalarText) {
        text.replace { text, index in
            guard let first = text[index], let last = text[index + 2], first.isNumeral, text[index + 1] == "," else {
                return nil
            }
            return last.isNumeral ? (index + 3, [first, last]) : nil
        }
        text.replace { text, index in
            guard text[index] == "." else { return nil }
            guard let next = text[index + 1] else { return (index + 1, [" "]) }
            return next.isDigit ? nil : (index + 2, [" ", next])
        }
        text.decompose()
        text.replace { text, index in text[index]?.replacement.map { (index + 1, $0) } }
    }

    /// Removes number symbols without a digit beside them, and joins white space.
    private static func removeLoneSymbols(_ text: inout ScalarText) {
        let symbols: Set<Unicode.Scalar> = [".", "$", "¢", "€", "£"]
        text.replace { text, index in
            guard let symbol = text[index], symbols.contains(symbol), let next = text[index + 1] else { return nil }
            return next.isDigit ? nil : (index + 2, [" ", next])
        }
        text.replace { text, index in
            guard let this = text[index], !this.isDigit, text[index + 1] == "%" else { return nil }
            return (index + 2, [this, " "])
        }
        text.replace { text, index in
            let end = text.skipSpace(index)
            return end > index ? (end, [" "]) : nil
        }
    }
}

extension Unicode.Scalar {
    /// A decimal digit of any script.
    fileprivate var isNumeral: Bool { isDigit || properties.generalCategory == .decimalNumber }

    /// The replacement of a mark, a symbol, punctuation, or a letter without a decomposition; nil for a scalar that
    /// stays.
    fileprivate var replacement: [Unicode.Scalar]? {
        switch self {
        case ".", "%", "$", "¢", "€", "£": return nil
        case "œ": return ["o", "e"]
        case "Œ": return ["O", "E"]
        case "ø": return ["o"]
        case "Ø": return ["O"]
        case "æ": return ["a", "e"]
        case "Æ": return ["A", "E"]
        case "ß": return ["s", "s"]
        case "ẞ": return ["S", "S"]
        case "đ", "ð": return ["d"]
        case "Đ", "Ð": return ["D"]
        case "þ", "Þ": return ["t", "h"]
        case "ł": return ["l"]
        case "Ł": return ["L"]
        default: break
        }
        switch properties.generalCategory {
        case .nonspacingMark: return []
        case .spacingMark, .enclosingMark, .mathSymbol, .currencySymbol, .modifierSymbol, .otherSymbol,
            .connectorPunctuation, .dashPunctuation, .openPunctuation, .closePunctuation, .initialPunctuation,
            .finalPunctuation, .otherPunctuation:
            return [" "]
        default: return nil
        }
    }
}
