import Foundation
import LyraBase
import Testing

@testable import LyraText

@Suite("Normalisation")
struct NormalizationTests {
    /// NFC can change a scalar only if it decomposes, is reordered (a mark), or composes with the scalar before it.
    /// Scalars that can compose so are the last ones of canonical decompositions, and Hangul vowels and finals.
    @Test("No scalar that the quick check skips can be changed by NFC")
    func quickCheck() {
        var seconds = Set((UInt32(0x1161)...0x1175)).union(0x11A8...0x11C2)
        for value in UInt32(0)...0x2FFFF {
            guard let scalar = Unicode.Scalar(value), !(0xAC00...0xD7A3).contains(value) else { continue }
            let parts = String(scalar).decomposedStringWithCanonicalMapping.unicodeScalars
            if parts.count > 1 { seconds.formUnion(parts.dropFirst().map(\.value)) }
        }
        // Without the scalars that NFC leaves decomposed.
        for value in UInt32(0)...0x2FFFF {
            guard let scalar = Unicode.Scalar(value), !(0xAC00...0xD7A3).contains(value) else { continue }
            let (whole, parts) = (String(scalar).nfc, String(scalar).decomposedStringWithCanonicalMapping)
            guard whole.unicodeScalars.count == 1, let last = parts.unicodeScalars.last, last != scalar else {
                continue
            }
            if parts.unicodeScalars.count > 1 { #expect(Normalizer.canFollow(last.value)) }
        }
        var checked = 0
        for value in UInt32(0)...0xFFFF where Normalizer.isInert(value) {
            guard let scalar = Unicode.Scalar(value) else { continue }
            checked += 1
            #expect(Array(String(scalar).precomposedStringWithCanonicalMapping.unicodeScalars) == [scalar])
            #expect(scalar.properties.canonicalCombiningClass == .notReordered && !seconds.contains(value))
        }
        #expect(checked > 39_000)
    }

    /// The NFC of the joined pieces.
    private func nfc(_ parts: [String]) throws -> [UInt8] {
        var normalizer = Normalizer()
        let output = GrowingBuffer<UInt8>()
        for part in parts {
            try Array(part.utf8).withUnsafeBufferPointer { try normalizer.append($0, to: output) }
        }
        try normalizer.finish(to: output)
        return Array(output.elements)
    }

    /// Cuts a text into pieces of a few scalars.
    private func cut(_ text: String, using generator: inout SeededGenerator) -> [String] {
        var parts: [String] = [], rest = Substring.UnicodeScalarView(text.unicodeScalars)
        while !rest.isEmpty {
            let count = Int.random(in: 1...9, using: &generator)
            parts.append(String(String.UnicodeScalarView(rest.prefix(count))))
            rest = rest.dropFirst(count)
        }
        return parts
    }

    @Test("Text is composed, reordered and left alone as Unicode says")
    func examples() throws {
        // Worked out by hand from the Unicode character database.
        for (text, wanted) in [
            ("e\u{301}", "\u{E9}"), ("\u{212B}", "\u{C5}"), ("a\u{301}\u{323}", "\u{1EA1}\u{301}"),
            ("\u{1100}\u{1161}\u{11A8}", "\u{AC01}"), ("\u{915}\u{93C}", "\u{915}\u{93C}"),
            ("\u{958}", "\u{915}\u{93C}"), ("plain, na\u{EF}ve", "plain, na\u{EF}ve"),
        ] {
            #expect(try nfc([text]) == Array(wanted.utf8))
        }
    }

    @Test("Hard texts get the NFC that Python's unicodedata gives them, however they are cut")
    func peer() throws {
        var generator = SeededGenerator(state: 6)
        func text(_ list: Substring) -> String {
            var view = String.UnicodeScalarView()
            for part in list.split(separator: ",") {
                if let scalar = UInt32(part, radix: 16).flatMap(Unicode.Scalar.init) { view.append(scalar) }
            }
            return String(view)
        }
        let lines = String(decoding: try Fixtures.file("nfc.txt").bytes, as: UTF8.self).split(separator: "\n")
        #expect(lines.count > 250)
        for line in lines {
            let parts = line.split(separator: " ")
            let input = text(parts[0]), wanted = Array(text(parts[1]).utf8)
            #expect(try nfc([input]) == wanted, "\(parts[0])")
            #expect(try nfc(cut(input, using: &generator)) == wanted, "\(parts[0])")
        }
    }

    @Test("20,000 random texts get the NFC of Foundation, however they are cut")
    func random() throws {
        var generator = SeededGenerator(state: 7)
        for _ in 0..<20_000 {
            let text = RandomText.make(using: &generator), wanted = Array(text.nfc.utf8)
            #expect(try nfc(cut(text, using: &generator)) == wanted, "\(text.unicodeScalars.map(\.value))")
        }
    }

    /// A quadratic sort would take minutes. By the definition, only the first mark of a class composes with the letter.
    @Test("A run of more than a million marks is sorted")
    func manyMarks() throws {
        let count = 300_000
        let text = "a" + String(repeating: "\u{316}\u{301}", count: count)
        let wanted =
            "\u{E1}" + String(repeating: "\u{316}", count: count) + String(repeating: "\u{301}", count: count - 1)
        #expect(try nfc([text]) == Array(wanted.utf8))
    }
}
