import Glibc

/// The classes into which the pre-tokenizer's pattern divides Unicode scalars.
///
/// `\s` is the property White_Space, `\p{L}` and `\p{N}` are general categories. Letters and numbers assigned after
/// Unicode 16 count as unassigned, as in the regular expressions of Hugging Face tokenizers 0.23. So a newer Swift
/// runtime does not change how text is split.
enum ScalarClass: UInt8 {
    /// Everything else: punctuation, symbols, marks, controls, unassigned.
    case other
    /// `\p{L}`
    case letter
    /// `\p{N}`
    case number
    /// `\s` other than a line break
    case space
    /// `[\r\n]`
    case lineBreak

    /// The major version of Unicode up to which letters and numbers are known.
    private static let unicodeVersion = 16

    init(_ scalar: Unicode.Scalar) {
        var isKnown: Bool { (scalar.properties.age?.major ?? .max) <= Self.unicodeVersion }
        switch scalar.properties.generalCategory {
        case .uppercaseLetter, .lowercaseLetter, .titlecaseLetter, .modifierLetter, .otherLetter:
            self = isKnown ? .letter : .other
        case .decimalNumber, .letterNumber, .otherNumber: self = isKnown ? .number : .other
        default:
            if scalar == "\r" || scalar == "\n" {
                self = .lineBreak
            } else {
                self = scalar.properties.isWhitespace ? .space : .other
            }
        }
    }

    /// A table of the classes of U+0000…U+FFFF (surrogates: `other`), because the property look-up is slow. Scalars
    /// above are rare enough to look up each time. Nil if there was no memory for the table; then all are looked up.
    nonisolated(unsafe) static let basicPlane: UnsafePointer<ScalarClass>? = {
        let count = 0x10000
        guard let memory = malloc(count) else { return nil }
        let classes = memory.bindMemory(to: ScalarClass.self, capacity: count)
        for value in 0..<count { classes[value] = Unicode.Scalar(UInt32(value)).map(ScalarClass.init) ?? .other }
        return UnsafePointer(classes)
    }()
}
