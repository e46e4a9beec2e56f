import Foundation
import Testing

@testable import LyraText

@Suite("Normalisation")
struct NormalizationTests {
    /// NFC can change a scalar only if the scalar decomposes, if it is reordered (a mark), or if it composes with what
    /// stands before it; the second half of a composition is some scalar's canonical decomposition less its first part,
    /// or a Hangul vowel or final.
    @Test("No scalar that the quick check skips can be changed by NFC")
    func quickCheck() {
        var seconds = Set((UInt32(0x1161)...0x1175)).union(0x11A8...0x11C2)
        for value in UInt32(0)...0x2FFFF {
            guard let scalar = Unicode.Scalar(value), !(0xAC00...0xD7A3).contains(value) else { continue }
            let parts = String(scalar).decomposedStringWithCanonicalMapping.unicodeScalars
            if parts.count > 1 { seconds.formUnion(parts.dropFirst().map(\.value)) }
        }
        var checked = 0
        for value in UInt32(0)...0xFFFF where Normalization.isInert(value) {
            guard let scalar = Unicode.Scalar(value) else { continue }
            checked += 1
            #expect(Array(String(scalar).precomposedStringWithCanonicalMapping.unicodeScalars) == [scalar])
            #expect(scalar.properties.canonicalCombiningClass == .notReordered && !seconds.contains(value))
        }
        #expect(checked > 39_000)
    }

    @Test("Text is composed, reordered and left alone as Unicode says")
    func examples() {
        func nfc(_ text: String) -> [UInt8] {
            let bytes = Array(text.utf8)
            return bytes.withUnsafeBufferPointer { Normalization.nfc($0) } ?? bytes
        }
        // Worked out by hand from the Unicode character database.
        #expect(nfc("e\u{301}") == Array("\u{E9}".utf8))
        #expect(nfc("\u{212B}") == Array("\u{C5}".utf8))
        #expect(nfc("a\u{301}\u{323}") == Array("\u{1EA1}\u{301}".utf8))
        #expect(nfc("\u{1100}\u{1161}\u{11A8}") == Array("\u{AC01}".utf8))
        #expect(nfc("\u{915}\u{93C}") == Array("\u{915}\u{93C}".utf8))
        #expect(nfc("\u{958}") == Array("\u{915}\u{93C}".utf8))
        #expect(nfc("plain, na\u{EF}ve") == Array("plain, na\u{EF}ve".utf8))
    }
}
