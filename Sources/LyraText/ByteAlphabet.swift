import LyraBase

/// The printable alphabet in which byte-level BPE files (GPT-2 and its descendants) write arbitrary bytes.
///
/// Printable Latin-1 bytes stand for themselves; the other 68 take the scalars from U+0100 on, in byte order.
enum ByteAlphabet {
    /// The scalar that stands for each byte.
    static let scalars: [UInt16] = {
        var next: UInt16 = 0x100
        return (UInt16(0)..<256).map { byte in
            switch byte {
            case 0x21...0x7E, 0xA1...0xAC, 0xAE...0xFF: return byte
            default:
                defer { next += 1 }
                return next
            }
        }
    }()

    /// The byte of each scalar, or −1; indexed by scalar.
    private static let bytes: [Int16] = {
        var inverse = [Int16](repeating: -1, count: 0x144)
        for (byte, scalar) in scalars.enumerated() { inverse[Int(scalar)] = Int16(byte) }
        return inverse
    }()

    /// `bytes` written in this alphabet.
    static func encode(_ bytes: [UInt8]) -> String {
        var text = String.UnicodeScalarView()
        for byte in bytes { text.append(Unicode.Scalar(scalars[Int(byte)]) ?? "\u{FFFD}") }
        return String(text)
    }

    /// Appends the bytes that `text`, UTF-8 in this alphabet, stands for.
    /// - Returns: false if `text` holds anything outside the alphabet; `output` is then incomplete.
    /// - Throws: `LyraError.memory` if there is no room.
    static func decode(_ text: some Sequence<UInt8>, into output: GrowingBuffer<UInt8>) throws -> Bool {
        let table = bytes
        var lead = 0
        for unit in text {
            let scalar: Int
            if lead == 0 {
                if unit >= 0xC2 && unit <= 0xC5 {
                    lead = Int(unit & 0x1F) << 6
                    continue
                }
                guard unit < 0x80 else { return false }
                scalar = Int(unit)
            } else {
                guard unit & 0xC0 == 0x80 else { return false }
                scalar = lead | Int(unit & 0x3F)
                lead = 0
            }
            guard scalar < table.count, table[scalar] >= 0 else { return false }
            try output.append(UInt8(truncatingIfNeeded: table[scalar]))
        }
        return lead == 0
    }
}
