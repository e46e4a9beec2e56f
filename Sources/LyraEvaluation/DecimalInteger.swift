/// A non-negative integer of any length: a decillion has 34 digits.
struct DecimalInteger: CustomStringConvertible {
    /// Decimal digits without leading zeros; empty for zero.
    private let digits: [UInt8]

    init(_ value: Int) { self.init(digits: String(max(value, 0)).utf8.map { $0 - UInt8(ascii: "0") }) }

    /// - Returns: nil unless `text` is one or more digits 0…9
    init?(_ text: some StringProtocol) {
        guard !text.isEmpty, text.unicodeScalars.allSatisfy(\.isDigit) else { return nil }
        self.init(digits: text.utf8.map { $0 - UInt8(ascii: "0") })
    }

    private init(digits: [UInt8]) { self.digits = Array(digits.drop { $0 == 0 }) }

    var description: String { digits.isEmpty ? "0" : digits.map(String.init).joined() }

    var isZero: Bool { digits.isEmpty }

    /// Whether the number is a multiple of 10^`zeros`.
    func ends(inZeros zeros: Int) -> Bool { digits.suffix(zeros).allSatisfy { $0 == 0 } }

    /// The last three digits.
    var belowThousand: DecimalInteger { DecimalInteger(digits: Array(digits.suffix(3))) }

    /// The number with its last three digits set to zero.
    var thousands: DecimalInteger { DecimalInteger(digits: digits.dropLast(3) + [0, 0, 0]) }

    /// The number times 10^`power`.
    func shifted(by power: Int) -> DecimalInteger {
        DecimalInteger(digits: digits + [UInt8](repeating: 0, count: power))
    }

    static func + (a: DecimalInteger, b: DecimalInteger) -> DecimalInteger {
        let count = max(a.digits.count, b.digits.count) + 1
        var sum = [UInt8](repeating: 0, count: count)
        var carry: UInt8 = 0
        for place in 0..<count {
            var digit = carry
            if place < a.digits.count { digit += a.digits[a.digits.count - 1 - place] }
            if place < b.digits.count { digit += b.digits[b.digits.count - 1 - place] }
            (sum[count - 1 - place], carry) = (digit % 10, digit / 10)
        }
        return DecimalInteger(digits: sum)
    }
}
