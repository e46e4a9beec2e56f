import Foundation
import LyraBase
import LyraText

/// The files in Tests/Fixtures/tokenizer.
///
/// - `vocab.json`, `merges.txt`, `added_tokens.json`, `tokenizer_config.json`, `tokenizer.json`: the first 2048 tokens
///   of Qwen2's vocabulary, in the published file formats.
/// - `qwen2-merges.txt`: the merges of the whole vocabulary, which determine its tokens.
/// - `cases.json`, `qwen2-lines.json`, `qwen2-peer.json`: texts and their ids from Hugging Face tokenizers and the
///   vocabulary tests of llama.cpp.
enum Fixtures {
    struct Case: Decodable {
        let text: String
        let ids: [Int32]
    }

    static let directory = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .appending(path: "Fixtures/tokenizer")

    static func file(_ name: String) throws -> NamedBytes {
        NamedBytes(name: name, bytes: [UInt8](try Data(contentsOf: directory.appending(path: name))))
    }

    static func cases(_ name: String) throws -> [Case] {
        try JSONDecoder().decode([Case].self, from: Data(contentsOf: directory.appending(path: name)))
    }

    /// The tokenizer of 2048 tokens and its 14 added tokens.
    static func small() throws -> Tokenizer {
        try Tokenizer(
            vocabJSON: file("vocab.json"), mergesText: file("merges.txt"), addedTokensJSON: file("added_tokens.json"),
            tokenizerConfigJSON: file("tokenizer_config.json"))
    }

    /// Qwen2's whole vocabulary.
    static let qwen2 = Result { try Qwen2Vocabulary() }
    static let qwen2Tokenizer = Result {
        let vocabulary = try qwen2.get()
        return try Tokenizer(
            tokens: vocabulary.tokens.enumerated().lazy.map { (text: $1, id: $0) }, merges: vocabulary.merges,
            added: vocabulary.added, source: "qwen2")
    }
}

/// Qwen2's vocabulary: the tokens of the 256 bytes in the order of their letters in the byte alphabet, then the result
/// of each merge.
struct Qwen2Vocabulary {
    var tokens: [[UInt8]]
    var merges: [(left: [UInt8], right: [UInt8])] = []
    var added: [AddedToken] = []

    init() throws {
        let printable = Array(0x21...0x7E) + Array(0xA1...0xAC) + Array(0xAE...0xFF)
        tokens = (printable + Array(0x100..<0x144)).map { Array(Character(Unicode.Scalar($0)!).utf8) }
        for line in try Fixtures.file("qwen2-merges.txt").bytes.split(separator: 0x0A).dropFirst() {
            let parts = line.split(separator: 0x20)
            merges.append((Array(parts[0]), Array(parts[1])))
            tokens.append(Array(parts.joined()))
        }
        for name in ["<|endoftext|>", "<|im_start|>", "<|im_end|>"] {
            added.append(AddedToken(content: Array(name.utf8), id: tokens.count + added.count))
        }
    }

    /// The files of the vocabulary as a checkpoint would hold them.
    func files() -> (vocab: NamedBytes, merges: NamedBytes, added: NamedBytes) {
        func json(_ pairs: [(text: [UInt8], id: Int)]) -> [UInt8] {
            var output = Array("{".utf8)
            for (index, pair) in pairs.enumerated() {
                if index > 0 { output.append(0x2C) }
                output.append(0x22)
                for byte in pair.text {
                    if byte == 0x22 || byte == 0x5C { output.append(0x5C) }
                    output.append(byte)
                }
                output += Array("\": \(pair.id)".utf8)
            }
            return output + [0x7D]
        }
        let lines = merges.map { $0.left + [0x20] + $0.right + [0x0A] }
        return (
            NamedBytes(name: "vocab.json", bytes: json(tokens.enumerated().map { ($1, $0) })),
            NamedBytes(name: "merges.txt", bytes: Array("#version: 0.2\n".utf8) + lines.joined()),
            NamedBytes(name: "added_tokens.json", bytes: json(added.map { ($0.content, $0.id) }))
        )
    }
}

/// SplitMix64 with a fixed seed, so that a failure can be repeated.
struct SeededGenerator: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var value = state
        value = (value ^ value >> 30) &* 0xBF58_476D_1CE4_E5B9
        value = (value ^ value >> 27) &* 0x94D0_49BB_1331_11EB
        return value ^ value >> 31
    }
}

/// Random text of mixed scripts, white space, marks, emoji, contractions, controls and special tokens.
struct RandomText {
    private static let ranges: [[ClosedRange<UInt32>]] = [
        [0x20...0x20, 0x09...0x0D, 0x85...0x85, 0xA0...0xA0, 0x2000...0x200A, 0x2028...0x2029, 0x3000...0x3000],
        [0x41...0x5A, 0x61...0x7A], [0x30...0x39, 0xB2...0xB3, 0xBC...0xBE, 0x660...0x669, 0x2160...0x2188],
        [0x21...0x2F, 0x3A...0x40, 0x5B...0x60, 0x7B...0x7E], [0xC0...0x24F, 0x370...0x4FF, 0x1E00...0x1FFF],
        [0x300...0x36F, 0x93C...0x93C, 0x9BE...0x9BE, 0x3099...0x309A], [0x590...0x6FF, 0x900...0x9FF, 0xE00...0xE7F],
        [0x3040...0x30FF, 0x4E00...0x9FFF, 0xAC00...0xD7A3, 0xF900...0xFAFF, 0x1100...0x11FF],
        [0x1F300...0x1F6FF, 0x200D...0x200D, 0xFE0F...0xFE0F, 0x1F3FB...0x1F3FF], [0x00...0x1F, 0x7F...0x9F],
        [0x20...0xD7FF, 0xE000...0x1FFFF, 0x20000...0x10FFFF],
    ]
    private static let words = [
        "'s", "'S", "'ſ", "'t", "'RE", "'ve", "'m", "'lL", "'d", "'l", "'", "the", " of", " and", "\n\n", "   ",
        "Hello",
        "<|im_start|>", "<|im_end|>", "<|endoftext|>", "<|im_", "|>", "\r\n", "e\u{301}", "12345",
    ]

    static func make(using generator: inout SeededGenerator) -> String {
        var scalars = String.UnicodeScalarView()
        let kinds = (0..<Int.random(in: 1...4, using: &generator)).map { _ in
            Int.random(in: -2..<ranges.count, using: &generator)
        }
        for _ in 0..<Int.random(in: 0...Int.random(in: 1...40, using: &generator), using: &generator) {
            let kind = kinds.randomElement(using: &generator)!
            if kind < 0 {
                scalars.append(contentsOf: words.randomElement(using: &generator)!.unicodeScalars)
            } else {
                let range = ranges[kind].randomElement(using: &generator)!
                scalars.append(Unicode.Scalar(UInt32.random(in: range, using: &generator)) ?? "\u{FFFD}")
            }
        }
        return String(scalars)
    }
}

extension String {
    /// NFC by way of NFD, because Foundation leaves a Hangul syllable and a final consonant after it uncomposed.
    var nfc: String { decomposedStringWithCanonicalMapping.precomposedStringWithCanonicalMapping }
}

extension NamedBytes {
    var bytes: [UInt8] { withBytes { Array($0) } }
}
