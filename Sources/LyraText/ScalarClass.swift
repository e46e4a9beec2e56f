/// The classes into which the pre-tokenizer's pattern divides Unicode scalars.
///
/// `\s` is the property White_Space, `\p{L}` and `\p{N}` are general categories, all from the Swift runtime's Unicode
/// data. A scalar assigned in a later Unicode version than a peer's data knows may therefore fall into another class there.
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

    init(_ scalar: Unicode.Scalar) {
        switch scalar.properties.generalCategory {
        case .uppercaseLetter, .lowercaseLetter, .titlecaseLetter, .modifierLetter, .otherLetter: self = .letter
        case .decimalNumber, .letterNumber, .otherNumber: self = .number
        default:
            if scalar == "\r" || scalar == "\n" {
                self = .lineBreak
            } else {
                self = scalar.properties.isWhitespace ? .space : .other
            }
        }
    }

    /// The classes of U+0000…U+FFFF (surrogates: `other`), because the property look-up is slow; the rest is rare enough
    /// in text to be looked up each time.
    static let basicPlane: [ScalarClass] = (UInt32(0)..<0x10000).map { value in
        Unicode.Scalar(value).map(ScalarClass.init) ?? .other
    }
}
