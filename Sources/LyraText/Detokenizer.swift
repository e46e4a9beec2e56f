/// Converts a stream of tokens to text. Returns whole characters only: holds back up to three bytes of an incomplete
/// character. Bytes that cannot become a character are read as U+FFFD, one for each maximal subpart (Unicode Standard,
/// section 3.9). The joined text does not depend on how the tokens are divided into calls.
public struct Detokenizer: Sendable {
    private let tokenizer: Tokenizer
    private let keepSpecial: Bool
    private var pending: [UInt8] = []

    /// - Parameter keepSpecial: whether special tokens appear as their text instead of being left out.
    public init(_ tokenizer: Tokenizer, keepSpecial: Bool = false) {
        self.tokenizer = tokenizer
        self.keepSpecial = keepSpecial
    }

    /// Adds a token and returns the characters that it completes, often none. Ids without a token (a model's padding
    /// rows) add nothing.
    public mutating func append(_ id: Int32) -> String {
        guard keepSpecial || !tokenizer.isSpecial(id), let bytes = tokenizer.bytes(of: id) else { return "" }
        pending.append(contentsOf: bytes)
        let end = pending.count - Self.incompleteSuffix(of: pending)
        defer { pending.removeFirst(end) }
        return String(decoding: pending[..<end], as: UTF8.self)
    }

    /// Returns the held-back bytes as text (an incomplete character becomes U+FFFD) and resets the detokenizer.
    public mutating func finish() -> String {
        defer { pending.removeAll(keepingCapacity: true) }
        return String(decoding: pending, as: UTF8.self)
    }

    /// The length, 0 to 3, of the incomplete character at the end of `bytes` (Unicode Standard, table 3-7).
    private static func incompleteSuffix(of bytes: [UInt8]) -> Int {
        for length in 1...3 where length <= bytes.count {
            let start = bytes.count - length
            let lead = bytes[start]
            if lead & 0xC0 == 0x80 { continue }
            let needed = lead < 0xC2 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : lead < 0xF5 ? 4 : 1
            guard length < needed else { return 0 }
            if length == 1 { return 1 }
            let secondFits: ClosedRange<UInt8> =
                switch lead {
                case 0xE0: 0xA0...0xBF
                case 0xED: 0x80...0x9F
                case 0xF0: 0x90...0xBF
                case 0xF4: 0x80...0x8F
                default: 0x80...0xBF
                }
            return secondFits.contains(bytes[start + 1]) ? length : 0
        }
        return 0
    }
}
