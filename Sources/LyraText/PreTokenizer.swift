/// Splits text into pre-tokens, the words within which BPE merges, by Qwen2's pattern
///
/// `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
///
/// Tries the alternatives in order and examines each character a bounded number of times: linear time. Text can arrive
/// in pieces: if a pre-token has no end yet, the next call continues where the text ended.
struct PreTokenizer {
    /// The pattern as tokenizer.json spells it.
    static let pattern =
        #"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|"#
        + #"\s*[\r\n]+|\s+(?!\S)|\s+"#

    /// The kind of the pre-token in progress, as far as it is known.
    private enum Kind {
        case unknown
        case letters
        /// `[^\s\p{L}\p{N}]+`
        case symbols
        /// The `[\r\n]*` after it.
        case breaks
        case whiteSpace
    }

    private let classes = ScalarClass.basicPlane
    private var kind = Kind.unknown
    /// Bytes of the pre-token in progress that were examined.
    private(set) var scanned = 0
    /// In white space: where the last character begins, and where the last line break ends.
    private var last = 0
    private var lastBreakEnd: Int?

    /// Bytes that determine the kind of a pre-token: a contraction, or two characters.
    private static let opening = 8

    /// Whether the examined bytes belong to the pre-token in progress, wherever it ends.
    var isScannedSettled: Bool { [.letters, .symbols, .breaks].contains(kind) }

    /// The end of the pre-token at the start of `text`; nil if the call needs more text.
    ///
    /// - Parameters:
    ///   - text: valid UTF-8, not empty; after nil, the same text with more appended
    ///   - isEnd: whether no more text follows
    mutating func preTokenEnd(_ text: UnsafeBufferPointer<UInt8>, isEnd: Bool) -> Int? {
        if kind == .unknown {
            guard isEnd || text.count >= Self.opening else { return nil }
            if let end = open(text) { return end }
        }
        guard let end = scanToEnd(text, isEnd: isEnd) else { return nil }
        (kind, scanned, last, lastBreakEnd) = (.unknown, 0, 0, nil)
        return end
    }

    /// Drops the first `count` examined bytes of the pre-token in progress: the next text starts after them.
    mutating func skip(_ count: Int) { scanned -= count }

    /// Determines the kind of the pre-token. → its end, if known
    private mutating func open(_ text: UnsafeBufferPointer<UInt8>) -> Int? {
        if let end = contractionEnd(text) { return end }
        let (first, second) = scalar(text, at: 0)
        let follows = second < text.count ? scalar(text, at: second).kind : nil
        scanned = second
        switch first {
        case .number: return second
        case .letter: kind = .letters
        case .other: kind = follows == .letter ? .letters : .symbols
        case .space where follows == .letter: kind = .letters
        case .space where text[0] == UInt8(ascii: " ") && follows == .other: kind = .symbols
        case .space, .lineBreak: (kind, scanned) = (.whiteSpace, 0)
        }
        return nil
    }

    private mutating func scanToEnd(_ text: UnsafeBufferPointer<UInt8>, isEnd: Bool) -> Int? {
        switch kind {
        case .unknown: return nil
        case .letters: return scan(of: .letter, text) || isEnd ? scanned : nil
        case .symbols:
            guard scan(of: .other, text) || isEnd else { return nil }
            kind = .breaks
            return scan(of: .lineBreak, text) || isEnd ? scanned : nil
        case .breaks: return scan(of: .lineBreak, text) || isEnd ? scanned : nil
        case .whiteSpace: return whiteSpaceEnd(text, isEnd: isEnd)
        }
    }

    /// `(?i:'s|'t|'re|'ve|'m|'ll|'d)`; regardless of case, U+017F (ſ) is an s, too.
    private func contractionEnd(_ text: UnsafeBufferPointer<UInt8>) -> Int? {
        guard text[0] == UInt8(ascii: "'"), text.count > 1 else { return nil }
        let first = text[1]
        let second = text.count > 2 ? text[2] : 0
        switch first | 0x20 {
        case UInt8(ascii: "s"), UInt8(ascii: "t"), UInt8(ascii: "m"), UInt8(ascii: "d"): return 2
        case UInt8(ascii: "r"), UInt8(ascii: "v"): return second | 0x20 == UInt8(ascii: "e") ? 3 : nil
        case UInt8(ascii: "l"): return second | 0x20 == UInt8(ascii: "l") ? 3 : nil
        default: return first == 0xC5 && second == 0xBF ? 3 : nil
        }
    }

    /// `\s*[\r\n]+|\s+(?!\S)|\s+`: white space up to its last line break; or without its last character, which belongs
    /// to the next word; or all of it.
    private mutating func whiteSpaceEnd(_ text: UnsafeBufferPointer<UInt8>, isEnd: Bool) -> Int? {
        while scanned < text.count {
            let (found, next) = scalar(text, at: scanned)
            guard found == .space || found == .lineBreak else {
                return lastBreakEnd ?? (last == 0 ? scanned : last)
            }
            if found == .lineBreak { lastBreakEnd = next }
            last = scanned
            scanned = next
        }
        return isEnd ? lastBreakEnd ?? scanned : nil
    }

    /// Examines characters of one class. → whether a character of another class follows
    private mutating func scan(of kind: ScalarClass, _ text: UnsafeBufferPointer<UInt8>) -> Bool {
        while scanned < text.count {
            let (found, next) = scalar(text, at: scanned)
            guard found == kind else { return true }
            scanned = next
        }
        return false
    }

    /// The class of a scalar below U+10000.
    @inline(__always)
    private func kind(_ value: Int) -> ScalarClass {
        if let classes { return classes[value] }
        return Unicode.Scalar(UInt32(truncatingIfNeeded: value)).map(ScalarClass.init) ?? .other
    }

    /// The class of the scalar at `position`, and where the next one starts.
    @inline(__always)
    private func scalar(_ text: UnsafeBufferPointer<UInt8>, at position: Int) -> (kind: ScalarClass, next: Int) {
        let lead = text[position]
        if lead < 0x80 { return (kind(Int(lead)), position + 1) }
        let second = Int(text[position + 1] & 0x3F)
        if lead < 0xE0 { return (kind(Int(lead & 0x1F) << 6 | second), position + 2) }
        let third = Int(text[position + 2] & 0x3F)
        if lead < 0xF0 { return (kind(Int(lead & 0x0F) << 12 | second << 6 | third), position + 3) }
        let value = UInt32(Int(lead & 0x07) << 18 | second << 12 | third << 6 | Int(text[position + 3] & 0x3F))
        return (Unicode.Scalar(value).map(ScalarClass.init) ?? .other, position + 4)
    }
}
