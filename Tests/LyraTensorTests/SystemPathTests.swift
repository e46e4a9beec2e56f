import LyraBase
import Testing

@testable import LyraTensor

/// File names are bytes. A name as a string converts back to the same bytes, and different names stay different.
@Suite struct SystemPathTests {
    /// Bytes for difficult names: fragments of UTF-8, of the noncharacters that represent bytes, and plain letters.
    private static let awkward: [[UInt8]] = [
        [0x61], [0x2F], [0xE9], [0xC3], [0xA9], [0xC3, 0xA9], [0xEF, 0xB7], [0x90], [0xEF, 0xB7, 0x9E],
        [0xEF, 0xB7, 0xA9],
        [0xEF, 0xB7, 0xAF], [0xF0, 0x9F, 0x99, 0x82], [0xF0, 0x9F], [0xED, 0xB3, 0xA9], [0xC0, 0x80], [0xFF],
        [0x65, 0xCC, 0x81],
    ]

    @Test func everyNameConvertsBackToItsBytes() {
        for byte in UInt8(1)...255 { #expect(SystemPath.bytes(SystemPath.string([byte])) == [byte]) }
        for first in Self.awkward {
            for second in Self.awkward {
                for third in Self.awkward {
                    let name = first + second + third
                    #expect(SystemPath.bytes(SystemPath.string(name)) == name)
                }
            }
        }
    }

    @Test func differentNamesAreDifferentStrings() {
        var names: [[UInt8]: [UInt8]] = [:]
        for first in Self.awkward {
            for second in Self.awkward {
                for third in Self.awkward {
                    let name = first + second + third
                    let string = Array(SystemPath.string(name).utf8)
                    #expect(names[string] ?? name == name)
                    names[string] = name
                }
            }
        }
    }

    @Test(arguments: ["plain.wav", "Grüße/日本語 🙂.wav", "e\u{301}", "\u{FFFD}", "a\u{10FFFD}\u{E0E9}", ""])
    func namesInUTF8StayUnchanged(_ name: String) {
        #expect(Array(SystemPath.string(name.utf8).utf8) == Array(name.utf8))
        #expect(SystemPath.bytes(name) == Array(name.utf8))
        #expect(Array(SystemPath.printable(name).utf8) == Array(name.utf8))
    }

    @Test func aNameOfACallerIsUnchanged() {
        for name in [[0x61, 0xE9, 0], [0xEF, 0xB7, 0x9E, 0xEF, 0xB7, 0xA9, 0], [0x61, 0xC3, 0xA9, 0]] as [[UInt8]] {
            let string = name.withUnsafeBytes { buffer in
                buffer.withMemoryRebound(to: CChar.self) { $0.baseAddress.map { SystemPath.string(cString: $0) } }
            }
            #expect(string.map(SystemPath.bytes) == Array(name.dropLast()))
        }
    }

    @Test func theSystemGetsTheBytes() {
        let name: [UInt8] = [0x61, 0xE9, 0x62]
        let copy = withSystemPath(SystemPath.string(name)) { pointer in (0..<4).map { UInt8(bitPattern: pointer[$0]) } }
        #expect(copy == name + [0])
    }

    @Test func messagesShowSuchBytesEscaped() {
        let name = SystemPath.string([0x61, 0xE9, 0x2E, 0x77, 0x61, 0x76])
        #expect(SystemPath.printable("\(name): damaged") == "a\\xE9.wav: damaged")
        #expect(LyraError(.io, "\(name): damaged").message == "a\\xE9.wav: damaged")
        #expect(LyraError(.io, "\(shown(name)) is no path").message == "\"a\\xE9.wav\" is no path")
    }

    /// One of the two noncharacters alone is ordinary text.
    @Test func singleNoncharactersAreText() {
        // A literal cannot contain noncharacters.
        let texts: [[UInt32]] = [[0xFDDE], [0xFDE9], [0xFDDE, 0x61, 0xFDE9], [0xFDDE, 0xFDDE], [0xFDD6, 0xFDE1]]
        for text in texts.map({ String(String.UnicodeScalarView($0.compactMap(Unicode.Scalar.init))) }) {
            #expect(SystemPath.bytes(text) == Array(text.utf8))
            #expect(SystemPath.printable(text) == text)
        }
    }
}
