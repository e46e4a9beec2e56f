@_spi(_Unicode) import Swift

/// Text as Unicode scalars, with the operations of regular expressions that a normalizer needs: substitution from left
/// to right, and the classes `\w` and `\s` as in Python, because Python programs define the normalizers.
struct ScalarText {
    private(set) var scalars: [Unicode.Scalar]

    init(_ text: some StringProtocol) { scalars = Array(text.unicodeScalars) }

    var string: String { String(String.UnicodeScalarView(scalars)) }

    /// A part of another text.
    init(_ text: ScalarText, _ range: Range<Int>) { scalars = Array(text.scalars[range]) }

    subscript(_ index: Int) -> Unicode.Scalar? { scalars.indices.contains(index) ? scalars[index] : nil }

    /// Replaces every match, from left to right. Replacements are not matched again.
    ///
    /// - Parameter match: returns the end and the replacement of a match that begins at an index; nil without a match
    mutating func replace(_ match: (ScalarText, Int) -> (end: Int, replacement: [Unicode.Scalar])?) {
        var result: [Unicode.Scalar] = []
        result.reserveCapacity(scalars.count)
        var index = 0
        while index < scalars.count {
            if let found = match(self, index), found.end > index {
                result += found.replacement
                index = found.end
            } else {
                result.append(scalars[index])
                index += 1
            }
        }
        scalars = result
    }

    /// Replaces a literal text that ends at a word boundary and, if `wholeWord`, begins at a word boundary.
    mutating func replace(_ literal: String, with replacement: String, wholeWord: Bool) {
        let (literal, replacement) = (Array(literal.unicodeScalars), Array(replacement.unicodeScalars))
        replace { text, index in
            guard text.has(literal, at: index), text.isBoundary(index + literal.count) else { return nil }
            guard !wholeWord || text.isBoundary(index) else { return nil }
            return (index + literal.count, replacement)
        }
    }

    /// Removes the text from an opening character to the next closing character, including both.
    ///
    /// - Parameter emptyToo: whether to remove pairs with nothing between them
    mutating func removeBetween(_ open: Set<Unicode.Scalar>, _ close: Set<Unicode.Scalar>, emptyToo: Bool) {
        replace { text, index in
            guard open.contains(text.scalars[index]) else { return nil }
            guard let end = text.scalars[(index + 1)...].firstIndex(where: close.contains) else { return nil }
            return emptyToo || end > index + 1 ? (end + 1, []) : nil
        }
    }

    func has(_ literal: [Unicode.Scalar], at index: Int) -> Bool {
        index <= scalars.count && scalars[index...].starts(with: literal)
    }

    /// `\b`: whether exactly one neighbor of `index` is a word character.
    func isBoundary(_ index: Int) -> Bool {
        (self[index - 1]?.isWordCharacter ?? false) != (self[index]?.isWordCharacter ?? false)
    }

    /// The end of the white space that begins at an index.
    func skipSpace(_ index: Int) -> Int {
        scalars[index...].firstIndex { !$0.isSpace } ?? scalars.count
    }

    /// The words between white space.
    var words: [String] {
        scalars.split(whereSeparator: \.isSpace).map { String(String.UnicodeScalarView($0)) }
    }

    /// Decomposes the text to Unicode's NFKD, limited to the compatibility forms that occur in English text.
    mutating func decompose() {
        let mapped = scalars.flatMap { $0.compatibilityForm ?? [$0] }
        scalars = Array(String(String.UnicodeScalarView(mapped))._nfd)
    }
}

extension Unicode.Scalar {
    /// Python's `\w`: a letter, a number or an underscore.
    var isWordCharacter: Bool {
        if isASCII { return isDigit || isSmallLetter || ("A"..."Z").contains(self) || self == "_" }
        switch properties.generalCategory {
        case .uppercaseLetter, .lowercaseLetter, .titlecaseLetter, .modifierLetter, .otherLetter, .decimalNumber,
            .letterNumber, .otherNumber:
            return true
        default: return false
        }
    }

    /// Python's `\s`: Unicode's White_Space and the separators U+001C…U+001F.
    var isSpace: Bool { properties.isWhitespace || (0x1c...0x1f).contains(value) }

    /// `[0-9]`
    var isDigit: Bool { ("0"..."9").contains(self) }

    /// `[a-z]`
    var isSmallLetter: Bool { ("a"..."z").contains(self) }

    /// The compatibility decomposition of a form that occurs in English text; nil for all other scalars.
    fileprivate var compatibilityForm: [Unicode.Scalar]? {
        func text(_ string: String) -> [Unicode.Scalar] { Array(string.unicodeScalars) }
        switch value {
        case 0xa0, 0x2000...0x200a, 0x202f, 0x205f, 0x3000: return [" "]
        case 0xff01...0xff5e: return Unicode.Scalar(value - 0xfee0).map { [$0] }
        case 0xb2, 0xb3: return text("\(value - 0xb0)")
        case 0xb9: return ["1"]
        case 0x2070: return ["0"]
        case 0x2074...0x2079: return text("\(value - 0x2070)")
        case 0x2080...0x2089: return text("\(value - 0x2080)")
        case 0x2460...0x2473: return text("\(value - 0x245f)")
        case 0xbc...0xbe: return text(["1⁄4", "1⁄2", "3⁄4"][Int(value - 0xbc)])
        case 0x2150...0x215e:
            return text(
                [
                    "1⁄7", "1⁄9", "1⁄10", "1⁄3", "2⁄3", "1⁄5", "2⁄5", "3⁄5", "4⁄5", "1⁄6", "5⁄6", "1⁄8", "3⁄8", "5⁄8",
                    "7⁄8",
                ][Int(value - 0x2150)])
        case 0xfb00...0xfb06: return text(["ff", "fi", "fl", "ffi", "ffl", "st", "st"][Int(value - 0xfb00)])
        case 0xaa: return ["a"]
        case 0xba: return ["o"]
        case 0x17f: return ["s"]
        case 0x133: return text("ij")
        case 0x2025: return text("..")
        case 0x2026: return text("...")
        case 0x2103: return text("°C")
        case 0x2109: return text("°F")
        case 0x2116: return text("No")
        case 0x2122: return text("TM")
        default: return nil
        }
    }
}
