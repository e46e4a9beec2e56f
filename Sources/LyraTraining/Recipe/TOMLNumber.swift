/// An integer or float of a TOML text.
enum TOMLNumber {
    case integer(Int64)
    case float(Double)
    /// Beyond 64 bits.
    case tooLarge
    case malformed

    /// Whether a word begins like a date (`1979-…`) or a time (`07:…`).
    static func isDate(_ word: String) -> Bool {
        let bytes = Array(word.utf8)
        func digits(_ count: Int, then mark: Character) -> Bool {
            bytes.count > count && bytes.prefix(count).allSatisfy { isDigit($0) } && bytes[count] == mark.asciiValue
        }
        return digits(4, then: "-") || digits(2, then: ":")
    }

    init(_ word: String) {
        var rest = Substring(word)
        let isNegative = rest.first == "-"
        if isNegative || rest.first == "+" { rest.removeFirst() }
        switch rest {
        case "inf": self = .float(isNegative ? -.infinity : .infinity)
        case "nan": self = .float(.nan)
        default:
            let radix = ["0x": 16, "0o": 8, "0b": 2][String(rest.prefix(2))]
            if let radix {
                // These have no sign.
                self = rest.count == word.count ? Self.integer(rest.dropFirst(2), radix: radix, false) : .malformed
            } else {
                self = Self.decimal(rest, isNegative)
            }
        }
    }

    /// Digits with single underscores between them, without the underscores; nil if they are not that.
    private static func digits(_ text: Substring, radix: Int = 10) -> String? {
        let parts = text.split(separator: "_", omittingEmptySubsequences: false)
        guard parts.allSatisfy({ !$0.isEmpty && $0.utf8.allSatisfy { isDigit($0, radix: radix) } }) else { return nil }
        return parts.joined()
    }

    private static func isDigit(_ byte: UInt8, radix: Int = 10) -> Bool {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): Int(byte - UInt8(ascii: "0")) < radix
        case UInt8(ascii: "a")...UInt8(ascii: "f"), UInt8(ascii: "A")...UInt8(ascii: "F"): radix == 16
        default: false
        }
    }

    private static func integer(_ text: Substring, radix: Int, _ isNegative: Bool) -> TOMLNumber {
        guard let digits = digits(text, radix: radix) else { return .malformed }
        return Int64((isNegative ? "-" : "") + digits, radix: radix).map { .integer($0) } ?? .tooLarge
    }

    /// Without its sign: digits, and for a float a fraction, an exponent, or both.
    private static func decimal(_ text: Substring, _ isNegative: Bool) -> TOMLNumber {
        let exponentStart = text.firstIndex { $0 == "e" || $0 == "E" } ?? text.endIndex
        let mantissa = text[..<exponentStart]
        let point = mantissa.firstIndex(of: ".") ?? mantissa.endIndex
        let whole = mantissa[..<point]
        guard let wholeDigits = digits(whole), whole.count == 1 || whole.first != "0" else { return .malformed }
        if point == mantissa.endIndex, exponentStart == text.endIndex {
            return integer(whole, radix: 10, isNegative)
        }
        var number = (isNegative ? "-" : "") + wholeDigits
        if point < mantissa.endIndex {
            guard let fraction = digits(mantissa[mantissa.index(after: point)...]) else { return .malformed }
            number += "." + fraction
        }
        if exponentStart < text.endIndex {
            var exponent = text[text.index(after: exponentStart)...]
            let sign = exponent.first == "-" ? "-" : ""
            if exponent.first == "-" || exponent.first == "+" { exponent.removeFirst() }
            guard let power = digits(exponent) else { return .malformed }
            number += "e" + sign + power
        }
        return Double(number).flatMap { $0.isFinite ? .float($0) : nil } ?? .tooLarge
    }
}
