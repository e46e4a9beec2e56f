/// Cuts text into the pieces inside which BPE merges, as Qwen2 does with the pattern
///
/// `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
///
/// The alternatives are tried in order, and each character is looked at a bounded number of times: linear time.
struct PreTokenizer {
    /// The pattern as tokenizer.json spells it.
    static let pattern =
        #"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"#

    /// Valid UTF-8.
    private let text: UnsafeBufferPointer<UInt8>
    private let classes = ScalarClass.basicPlane

    init(_ text: UnsafeBufferPointer<UInt8>) {
        self.text = text
    }

    /// The end of the piece that starts at `start`, which must be a character's first byte and before the end.
    func pieceEnd(from start: Int) -> Int {
        if let end = contractionEnd(from: start) { return end }
        let (first, second) = scalar(at: start)
        switch first {
        case .letter: return runEnd(of: .letter, from: second)
        case .number: return second
        case .other:
            if startsClass(.letter, at: second) { return runEnd(of: .letter, from: second) }
            return symbolsEnd(from: second)
        case .space:
            if startsClass(.letter, at: second) { return runEnd(of: .letter, from: second) }
            if text[start] == UInt8(ascii: " "), startsClass(.other, at: second) { return symbolsEnd(from: second) }
            return whiteSpaceEnd(from: start)
        case .lineBreak: return whiteSpaceEnd(from: start)
        }
    }

    /// `(?i:'s|'t|'re|'ve|'m|'ll|'d)`; without regard to case U+017F (ſ) is an s too.
    private func contractionEnd(from start: Int) -> Int? {
        guard text[start] == UInt8(ascii: "'"), start + 1 < text.count else { return nil }
        let first = text[start + 1]
        let second = start + 2 < text.count ? text[start + 2] : 0
        switch first | 0x20 {
        case UInt8(ascii: "s"), UInt8(ascii: "t"), UInt8(ascii: "m"), UInt8(ascii: "d"): return start + 2
        case UInt8(ascii: "r"), UInt8(ascii: "v"): return second | 0x20 == UInt8(ascii: "e") ? start + 3 : nil
        case UInt8(ascii: "l"): return second | 0x20 == UInt8(ascii: "l") ? start + 3 : nil
        default: return first == 0xC5 && second == 0xBF ? start + 3 : nil
        }
    }

    /// The rest of `[^\s\p{L}\p{N}]+[\r\n]*`.
    private func symbolsEnd(from start: Int) -> Int {
        runEnd(of: .lineBreak, from: runEnd(of: .other, from: start))
    }

    /// `\s*[\r\n]+|\s+(?!\S)|\s+`: up to the last line break of the run; or the run without the last character, which
    /// goes to the word that follows; or the run.
    private func whiteSpaceEnd(from start: Int) -> Int {
        var end = start
        var last = start
        var lastBreakEnd: Int?
        while end < text.count {
            let (kind, next) = scalar(at: end)
            guard kind == .space || kind == .lineBreak else { break }
            if kind == .lineBreak { lastBreakEnd = next }
            last = end
            end = next
        }
        if let lastBreakEnd { return lastBreakEnd }
        return end == text.count || last == start ? end : last
    }

    private func startsClass(_ kind: ScalarClass, at position: Int) -> Bool {
        position < text.count && scalar(at: position).kind == kind
    }

    private func runEnd(of kind: ScalarClass, from start: Int) -> Int {
        var end = start
        while end < text.count {
            let (found, next) = scalar(at: end)
            guard found == kind else { break }
            end = next
        }
        return end
    }

    /// The class of the scalar at `position`, and where the next one starts.
    @inline(__always)
    private func scalar(at position: Int) -> (kind: ScalarClass, next: Int) {
        let lead = text[position]
        if lead < 0x80 { return (classes[Int(lead)], position + 1) }
        let second = Int(text[position + 1] & 0x3F)
        if lead < 0xE0 { return (classes[Int(lead & 0x1F) << 6 | second], position + 2) }
        let third = Int(text[position + 2] & 0x3F)
        if lead < 0xF0 { return (classes[Int(lead & 0x0F) << 12 | second << 6 | third], position + 3) }
        let value = UInt32(Int(lead & 0x07) << 18 | second << 12 | third << 6 | Int(text[position + 3] & 0x3F))
        return (Unicode.Scalar(value).map(ScalarClass.init) ?? .other, position + 4)
    }
}
