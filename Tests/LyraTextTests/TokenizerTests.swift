import Foundation
import LyraBase
import LyraText
import Testing

@Suite("Tokenizer")
struct TokenizerTests {
    @Test("With a small checkpoint, texts get the ids of transformers")
    func smallCheckpoint() throws {
        let tokenizer = try Fixtures.small()
        let cases = try Fixtures.cases("cases.json")
        #expect(cases.count == 8)
        for item in cases { #expect(try tokenizer.encode(item.text) == item.ids, "\(item.text.debugDescription)") }
    }

    @Test("tokenizer.json, with merges as pairs or as strings, is the same tokenizer as the separate files")
    func tokenizerJSON() throws {
        let file = try Fixtures.file("tokenizer.json")
        var root = try #require(JSONSerialization.jsonObject(with: Data(file.bytes)) as? [String: Any])
        var model = try #require(root["model"] as? [String: Any])
        model["merges"] = try #require(model["merges"] as? [[String]]).map { $0.joined(separator: " ") }
        root["model"] = model
        let rewritten = [UInt8](try JSONSerialization.data(withJSONObject: root))
        let separate = try Fixtures.small()
        for bytes in [file.bytes, rewritten] {
            let tokenizer = try Tokenizer(tokenizerJSON: NamedBytes(name: "tokenizer.json", bytes: bytes))
            #expect(tokenizer.vocabularySize == separate.vocabularySize)
            for item in try Fixtures.cases("cases.json") { #expect(try tokenizer.encode(item.text) == item.ids) }
            for id in -1...Int32(separate.vocabularySize) {
                #expect(tokenizer.bytes(of: id) == separate.bytes(of: id))
                #expect(tokenizer.isSpecial(id) == separate.isSpecial(id))
            }
        }
    }

    @Test("Every line of llama.cpp's Qwen2 vocabulary test gets its ids")
    func vocabularyLines() throws {
        let tokenizer = try Fixtures.qwen2Tokenizer.get()
        #expect(tokenizer.vocabularySize == 151_646)
        let cases = try Fixtures.cases("qwen2-lines.json")
        #expect(cases.count == 47)
        for item in cases { #expect(try tokenizer.encode(item.text) == item.ids, "\(item.text.debugDescription)") }
    }

    @Test("300 random texts get the ids of Hugging Face tokenizers")
    func peer() throws {
        let tokenizer = try Fixtures.qwen2Tokenizer.get()
        let cases = try Fixtures.cases("qwen2-peer.json")
        #expect(cases.count == 300)
        for item in cases { #expect(try tokenizer.encode(item.text) == item.ids, "\(item.text.debugDescription)") }
    }

    @Test("40,000 random texts get the ids of the slow reference")
    func reference() throws {
        let tokenizer = try Fixtures.qwen2Tokenizer.get()
        let reference = ReferenceTokenizer(try Fixtures.qwen2.get())
        var generator = SeededGenerator(state: 2)
        var failures = 0
        for _ in 0..<40_000 where failures < 5 {
            let text = RandomText.make(using: &generator)
            let (found, wanted) = (try tokenizer.encode(text), reference.encode(text))
            if found != wanted {
                failures += 1
                Issue.record("\(text.unicodeScalars.map { String($0.value, radix: 16) }): \(found) is not \(wanted)")
            }
        }
    }

    @Test("Long pieces, which merge through the queue, get the ids of the slow reference too")
    func longPieces() throws {
        let tokenizer = try Fixtures.qwen2Tokenizer.get()
        let reference = ReferenceTokenizer(try Fixtures.qwen2.get())
        var generator = SeededGenerator(state: 5)
        for alphabet in ["a", "ab", "aeinrst", "-=", " ", "\n", "abcdefghijklmnopqrstuvwxyz"] {
            for length in [47, 48, 49, 50, 300, 1000] {
                let text = String((0..<length).map { _ in alphabet.randomElement(using: &generator)! })
                #expect(try tokenizer.encode(text) == reference.encode(text), "\(length) of \(alphabet)")
            }
        }
    }

    @Test("Bytes that are not UTF-8 are read as U+FFFD")
    func repair() throws {
        let tokenizer = try Fixtures.small()
        #expect(try tokenizer.encode([0x61, 0xFF, 0xE2, 0x82, 0x62]) == tokenizer.encode("a\u{FFFD}\u{FFFD}b"))
        #expect(try tokenizer.encode([0xC3]) == tokenizer.encode("\u{FFFD}"))
    }

    @Test("Special tokens are recognised only where the caller allows them, even across segments")
    func specialTokens() throws {
        let tokenizer = try Fixtures.small()
        let end = try #require(tokenizer.id(ofSpecial: "<|im_end|>"))
        #expect(end == 2050)
        #expect(tokenizer.isSpecial(end) && !tokenizer.isSpecial(0) && !tokenizer.isSpecial(-1))
        #expect(tokenizer.id(ofSpecial: "<|im_END|>") == nil)
        #expect(try tokenizer.encode("<|im_end|>") == [end])
        #expect(try !tokenizer.encode("<|im_end|>", allowSpecial: false).contains(end))
        let typed = TextSegment("\n\n<|im_end|>", allowSpecial: false)
        let mixed = try tokenizer.encode([TextSegment("<|im_start|>user\n"), typed, TextSegment("<|im_end|>")])
        #expect(mixed.filter { $0 == end }.count == 1)
        #expect(
            try mixed.dropLast().elementsEqual(
                [2049] + tokenizer.encode("user\n\n\n<|im_end|>", allowSpecial: false)))
        let torn = [TextSegment("<|im_"), TextSegment("end|>", allowSpecial: false)]
        #expect(try !tokenizer.encode(torn).contains(end))
    }

    @Test("Texts with names of special tokens get the ids of transformers, with and without special tokens")
    func typedSpecialTokens() throws {
        let tokenizer = try Fixtures.small()
        let cases = try JSONDecoder().decode([TypedCase].self, from: Data(Fixtures.file("typed.json").bytes))
        #expect(cases.count == 19)
        for item in cases {
            #expect(try tokenizer.encode(item.text, allowSpecial: false) == item.plain, "\(item.text.debugDescription)")
            #expect(try tokenizer.encode(item.text) == item.special, "\(item.text.debugDescription)")
        }
    }

    /// A text of typed.json, and its ids with and without split_special_tokens.
    private struct TypedCase: Decodable {
        let text: String
        let plain: [Int32]
        let special: [Int32]
    }

    @Test("The template's tokens are special even where a vocabulary declares them otherwise")
    func controlTokens() throws {
        let vocabulary = try Fixtures.file("vocab.json")
        let configuration = #"{"added_tokens_decoder": {"2050": {"content": "<|im_end|>", "special": false}}}"#
        let tokenizer = try Tokenizer(
            vocabJSON: vocabulary, mergesText: Fixtures.file("merges.txt"),
            tokenizerConfigJSON: NamedBytes(name: "c", bytes: Array(configuration.utf8)))
        #expect(tokenizer.isSpecial(2050))
        #expect(try !tokenizer.encode("<|im_end|>", allowSpecial: false).contains(2050))
    }

    @Test("The longest of the added tokens that match at a position is taken")
    func longestAddedToken() throws {
        let vocabulary = try Fixtures.file("vocab.json")
        let added = NamedBytes(name: "a", bytes: Array(#"{"<a": 3000, "<a>b": 3001, "a>": 3002}"#.utf8))
        let tokenizer = try Tokenizer(
            vocabJSON: vocabulary, mergesText: Fixtures.file("merges.txt"), addedTokensJSON: added)
        #expect(try tokenizer.encode("<a>b<a>c") == [3001, 3000] + tokenizer.encode(">c"))
        #expect(tokenizer.vocabularySize == 3003)
        #expect(tokenizer.bytes(of: 2999) == nil)
    }

    @Test("Decoding the ids gives the NFC of the text")
    func roundTrip() throws {
        let tokenizer = try Fixtures.qwen2Tokenizer.get()
        var generator = SeededGenerator(state: 3)
        for _ in 0..<2_000 {
            let text = RandomText.make(using: &generator).replacing("|>", with: "")
            let bytes = try tokenizer.encode(text).flatMap { tokenizer.bytes(of: $0) ?? [] }
            #expect(bytes == Array(text.nfc.utf8))
        }
    }

    @Test("Speed, printed")
    func speed() throws {
        let clock = ContinuousClock()
        let files = try Fixtures.qwen2.get().files()
        var opened: Tokenizer?
        let opening = try clock.measure {
            opened = try Tokenizer(vocabJSON: files.vocab, mergesText: files.merges, addedTokensJSON: files.added)
        }
        print("tokenizer of 151,646 tokens from vocab.json and merges.txt: \(opening)")
        let tokenizer = try #require(opened)
        let prose = "It's a truth universally acknowledged, that 1 man in 10 must want naïve café words.\n\n  Indeed! "
        let chinese = "你好，世界。这是一段中文。"
        for (name, text) in [
            ("prose", prose), ("Chinese", chinese), ("letter a", "a"), ("spaces", " "), ("symbols", "=-"),
            ("combining marks", "\u{301}"), ("special tokens", "<|im_end|>"), ("openings of special tokens", "<|im_"),
        ] {
            let megabyte = String(repeating: text, count: 1_000_000 / text.utf8.count)
            var ids: [Int32] = []
            let time = try clock.measure { ids = try tokenizer.encode(megabyte) }
            #expect(!ids.isEmpty)
            print("1 MB of \(name): \(ids.count) tokens in \(time)")
        }
    }
}
