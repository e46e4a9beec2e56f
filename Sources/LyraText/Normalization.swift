@_spi(_Unicode) import Swift

/// Unicode normalisation form C of UTF-8 text.
enum Normalization {
    /// The NFC form of `text` (valid UTF-8), or nil if a look at the bytes shows that `text` already is NFC.
    static func nfc(_ text: UnsafeBufferPointer<UInt8>) -> [UInt8]? {
        guard !isInert(text) else { return nil }
        var result: [UInt8] = []
        result.reserveCapacity(text.count)
        for scalar in String(decoding: text, as: UTF8.self)._nfc { result.append(contentsOf: scalar.utf8) }
        return result
    }

    /// Whether every scalar of `text` is inert.
    private static func isInert(_ text: UnsafeBufferPointer<UInt8>) -> Bool {
        var position = 0
        while position < text.count {
            let lead = text[position]
            if lead < 0xCC {  // up to U+02FF; 2 bytes from 0xC2 on
                position += lead < 0x80 ? 1 : 2
            } else if lead < 0xE0 {
                guard isInert(UInt32(lead & 0x1F) << 6 | UInt32(text[position + 1] & 0x3F)) else { return false }
                position += 2
            } else if lead < 0xF0 {
                let high = UInt32(lead & 0x0F) << 12 | UInt32(text[position + 1] & 0x3F) << 6
                guard isInert(high | UInt32(text[position + 2] & 0x3F)) else { return false }
                position += 3
            } else {
                return false
            }
        }
        return true
    }

    /// Whether NFC leaves a scalar as it is whatever stands around it, unless a neighbour is not inert. True only for
    /// the common blocks in which that holds throughout; false just means that the text is normalised in earnest.
    static func isInert(_ scalar: UInt32) -> Bool {
        switch scalar {
        case 0...0x2FF: true  // Latin
        case 0x388...0x482: true  // Greek, Cyrillic
        case 0x5D0...0x5EA: true  // Hebrew letters
        case 0x61B...0x64A: true  // Arabic letters
        case 0xE01...0xE37: true  // Thai letters
        case 0x2010...0x2027, 0x2030...0x205E: true  // punctuation
        case 0x3000...0x3029, 0x3041...0x3096, 0x309D...0x30FF: true  // CJK punctuation, kana
        case 0x3400...0x4DBF, 0x4E00...0x9FFF: true  // CJK ideographs
        case 0xAC00...0xD7A3: true  // Hangul syllables
        case 0xFF01...0xFF60, 0xFFFD: true  // full-width forms
        default: false
        }
    }
}
