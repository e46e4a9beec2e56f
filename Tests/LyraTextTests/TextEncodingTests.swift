import Foundation
import LyraBase
import Testing

@testable import LyraText

/// Text that is tokenized step by step.
@Suite("Text in steps")
struct TextEncodingTests {
    private func tokens(_ tokenizer: Tokenizer, _ segments: [TextSegment], step: Int, chunk: Int) throws -> [Int32] {
        var encoding = TextEncoding(tokenizer.vocabulary, segments, step: step, chunk: chunk)
        let ids = GrowingBuffer<Int32>()
        while !encoding.isDone {
            let before = ids.count
            let fewest = encoding.fewestTokens
            try encoding.step(into: ids)
            #expect(ids.count - before + encoding.fewestTokens >= fewest / 4 || fewest == 0)
        }
        #expect(encoding.fewestTokens == 0)
        return Array(ids.elements)
    }

    /// Cuts a text into segments of up to 400 scalars, also inside characters and special tokens.
    private func cut(_ text: String, using generator: inout SeededGenerator) -> [TextSegment] {
        var segments: [TextSegment] = [], rest = Substring.UnicodeScalarView(text.unicodeScalars)
        while !rest.isEmpty {
            let count = Int.random(in: 1...400, using: &generator)
            segments.append(TextSegment(String(String.UnicodeScalarView(rest.prefix(count)))))
            rest = rest.dropFirst(count)
        }
        return segments
    }

    @Test("However a text is cut into segments and steps, its ids equal the reference's for the whole text")
    func steps() throws {
        let tokenizer = try Fixtures.qwen2Tokenizer.get()
        let reference = ReferenceTokenizer(try Fixtures.qwen2.get())
        var generator = SeededGenerator(state: 8)
        for round in 0..<400 {
            let text = (0..<40).map { _ in RandomText.make(using: &generator) }.joined()
            let wanted = reference.encode(text)
            let found = try tokens(
                tokenizer, cut(text, using: &generator), step: Int.random(in: 1...900, using: &generator), chunk: 512)
            #expect(found == wanted, "round \(round)")
        }
    }

    @Test("Long runs of one character class, merged piece by piece, get the reference's ids")
    func runs() throws {
        let tokenizer = try Fixtures.qwen2Tokenizer.get()
        let reference = ReferenceTokenizer(try Fixtures.qwen2.get())
        var generator = SeededGenerator(state: 9)
        for alphabet in [
            "a", "ab", "abc", "aeinrst", "abcdefghijklmnopqrstuvwxyz", "theandofing", "-=", "=", "*", " ", "\n", "\n ",
            "\t ", "\u{301}", "\u{316}\u{301}", "1", "你好世界", "的", "가나다", "🙂", "!?.", "\r\n",
        ] {
            for length in [700] {
                let letters = Array(alphabet.unicodeScalars)
                for isRandom in [true, false] {
                    var view = String.UnicodeScalarView()
                    for index in 0..<length {
                        view.append(
                            letters[
                                isRandom
                                    ? Int.random(in: 0..<letters.count, using: &generator) : index % letters.count])
                    }
                    let text = "x " + String(view) + " y", wanted = reference.encode(text)
                    for chunk in [128, 300] {
                        #expect(
                            try tokens(tokenizer, [TextSegment(text)], step: 256, chunk: chunk) == wanted,
                            "\(length) of \(alphabet.debugDescription), in pieces of \(chunk)")
                    }
                }
            }
        }
    }

    @Test("Each segment keeps its own rule for special tokens when tokenized in steps")
    func zones() throws {
        let tokenizer = try Fixtures.qwen2Tokenizer.get()
        let reference = ReferenceTokenizer(try Fixtures.qwen2.get())
        let filler = String(repeating: "word and ", count: 100)
        let end = try #require(tokenizer.id(ofSpecial: "<|im_end|>"))
        let segments = [
            TextSegment(filler + "<|im_end|>"), TextSegment(filler + "<|im_end|>", allowSpecial: false),
            TextSegment("", allowSpecial: true), TextSegment("<|im_end|>" + filler),
        ]
        let ids = try tokens(tokenizer, segments, step: 1, chunk: 64)
        #expect(ids.filter { $0 == end }.count == 2)
        let middle = try tokenizer.encode(filler + "<|im_end|>", allowSpecial: false)
        #expect(ids == reference.encode(filler) + [end] + middle + [end] + reference.encode(filler))
    }

    @Test("Bytes that are not UTF-8 are repaired in the same way wherever a step begins")
    func repair() throws {
        let tokenizer = try Fixtures.qwen2Tokenizer.get()
        let reference = ReferenceTokenizer(try Fixtures.qwen2.get())
        var generator = SeededGenerator(state: 10)
        let parts: [[UInt8]] = [
            [0x80], [0xFF], [0xE2, 0x82], [0xF0, 0x9F, 0x99, 0x82], [0xF0, 0x9F], [0x61], [0xC3, 0xA9],
            [0xED, 0xA0, 0x80],
            [0x80, 0x80, 0x80, 0x80, 0x80], [0x20],
        ]
        for _ in 0..<100 {
            let bytes = (0..<1500).flatMap { _ in parts.randomElement(using: &generator) ?? [] }
            let wanted = reference.encode(String(decoding: bytes, as: UTF8.self))
            #expect(
                try tokens(
                    tokenizer, [TextSegment(GrowingBuffer(copying: bytes))],
                    step: Int.random(in: 1...600, using: &generator), chunk: 256) == wanted)
        }
    }

    /// A step reads some kilobytes. The bound lets a session refuse a megabyte long before it is tokenized.
    @Test("A lower bound of the remaining tokens is known from the start")
    func fewest() throws {
        let tokenizer = try Fixtures.qwen2Tokenizer.get()
        for text in ["abc", " ", "\u{1100}\u{1161}\u{11A8}", "\u{212A}", "<|im_start|>", "word and "] {
            let all = String(repeating: text, count: (1 << 20) / text.utf8.count)
            let encoding = tokenizer.encoding(of: [TextSegment(all)])
            let count = try tokenizer.encode(all).count
            #expect(encoding.fewestTokens > 1000 && encoding.fewestTokens <= count, "\(text): \(count)")
        }
    }
}
