import LyraText
import Testing

@Suite("Detokenizer")
struct DetokenizerTests {
    /// Random ids make text with every kind of broken UTF-8, since many tokens are fragments of characters.
    @Test("The joined text equals all bytes decoded at once, and every piece consists of whole characters")
    func anySplit() throws {
        let tokenizer = try Fixtures.qwen2Tokenizer.get()
        var generator = SeededGenerator(state: 11)
        for _ in 0..<5_000 {
            let ids = (0..<Int.random(in: 0...12, using: &generator)).map { _ in
                Int32.random(in: Bool.random(using: &generator) ? 0...255 : 0...151_660, using: &generator)
            }
            for keep in [false, true] {
                var detokenizer = Detokenizer(tokenizer, keepSpecial: keep)
                var joined: [UInt8] = []
                for id in ids { joined += Array(detokenizer.append(id).utf8) }
                joined += Array(detokenizer.finish().utf8)
                let bytes = ids.filter { keep || !tokenizer.isSpecial($0) }.flatMap { tokenizer.bytes(of: $0) ?? [] }
                #expect(joined == Array(String(decoding: bytes, as: UTF8.self).utf8), "\(ids)")
            }
        }
    }

    @Test("Every two bytes with an ending are repaired as when they are decoded at once")
    func bytePairs() throws {
        let tokenizer = try Fixtures.small()
        let byteIDs = (0..<256).map { byte in
            (Int32(0)..<256).first { tokenizer.bytes(of: $0) == [UInt8(byte)] } ?? -1
        }
        for first in 0..<256 {
            for second in 0..<256 {
                for rest in [[], [0x80], [0x9F, 0xBF], [0xBF, 0x41]] {
                    let bytes = [first, second] + rest
                    var detokenizer = Detokenizer(tokenizer)
                    var joined = bytes.map { detokenizer.append(byteIDs[$0]) }.joined()
                    joined += detokenizer.finish()
                    guard joined.utf8.elementsEqual(String(decoding: bytes.map(UInt8.init), as: UTF8.self).utf8) else {
                        Issue.record("\(bytes)")
                        return
                    }
                }
            }
        }
    }

    @Test("A character is returned with its last byte, and not before")
    func holdsBack() throws {
        let tokenizer = try Fixtures.small()
        var detokenizer = Detokenizer(tokenizer)
        let ids = "😀".utf8.map { byte in (Int32(0)..<256).first { tokenizer.bytes(of: $0) == [byte] } ?? -1 }
        #expect(ids.map { detokenizer.append($0) } == ["", "", "", "😀"])
        #expect(detokenizer.append(ids[0]) == "")
        #expect(detokenizer.finish() == "\u{FFFD}")
        #expect(detokenizer.finish() == "")
        #expect(detokenizer.append(ids[0]) == "")
        #expect(detokenizer.append(0) == "\u{FFFD}!")
    }

    @Test("Special tokens are skipped unless requested; ids without a token add nothing")
    func special() throws {
        let tokenizer = try Fixtures.small()
        let ids = try tokenizer.encode("Hi<|im_end|>") + [5_000, -1, .max, .min]
        var plain = Detokenizer(tokenizer)
        var full = Detokenizer(tokenizer, keepSpecial: true)
        #expect(ids.map { plain.append($0) }.joined() == "Hi")
        #expect(ids.map { full.append($0) }.joined() == "Hi<|im_end|>")
    }
}
