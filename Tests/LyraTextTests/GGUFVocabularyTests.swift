import Foundation
import LyraText
import Testing

@Suite("Vocabulary from GGUF")
struct GGUFVocabularyTests {
    /// Runs where LYRA_QWEN2_VOCAB names llama.cpp's ggml-vocab-qwen2.gguf, which is too large to keep here.
    @Test(
        "The vocabulary in the metadata of a GGUF file equals the fixture's",
        .enabled(if: ProcessInfo.processInfo.environment["LYRA_QWEN2_VOCAB"] != nil))
    func sameVocabulary() throws {
        let path = try #require(ProcessInfo.processInfo.environment["LYRA_QWEN2_VOCAB"])
        var reader = GGUFReader(data: try Data(contentsOf: URL(filePath: path), options: .alwaysMapped))
        let arrays = try reader.arrays()
        let texts = try #require(arrays["tokenizer.ggml.tokens"])
        let types = try #require(arrays["tokenizer.ggml.token_type"]).map { Int($0[0]) }
        let merges = try #require(arrays["tokenizer.ggml.merges"])
        // Token types: 1 is normal, 3 is control, 4 is unused padding.
        let added = texts.indices.filter { types[$0] == 3 }.map { AddedToken(content: texts[$0], id: $0) }
        let tokenizer = try Tokenizer(
            tokens: texts.indices.lazy.filter { types[$0] == 1 }.map { (text: texts[$0], id: $0) },
            merges: merges.lazy.map { merge in
                let parts = merge.split(separator: 0x20)
                return (left: Array(parts[0]), right: Array(parts[1]))
            }, added: added, source: path)
        let fixture = try Fixtures.qwen2Tokenizer.get()
        #expect(tokenizer.vocabularySize == fixture.vocabularySize)
        for id in 0..<Int32(fixture.vocabularySize) {
            guard tokenizer.bytes(of: id) == fixture.bytes(of: id) else {
                Issue.record("token \(id) differs")
                return
            }
        }
        for item in try Fixtures.cases("qwen2-lines.json") { #expect(try tokenizer.encode(item.text) == item.ids) }
    }
}

/// Reads the array members of a trusted GGUF file's metadata, each element as its bytes.
private struct GGUFReader {
    let data: Data
    var position = 0

    init(data: Data) { self.data = data }

    private struct Unknown: Error {}

    private mutating func bytes(_ count: Int) throws -> [UInt8] {
        guard count >= 0, count <= data.count - position else { throw Unknown() }
        defer { position += count }
        return [UInt8](data[position..<position + count])
    }

    private mutating func integer(_ size: Int) throws -> Int {
        try bytes(size).reversed().reduce(0) { $0 << 8 | Int($1) }
    }

    private mutating func value(_ type: Int) throws -> [UInt8] {
        switch type {
        case 0, 1, 7: try bytes(1)
        case 2, 3: try bytes(2)
        case 4, 5, 6: try bytes(4)
        case 8: try bytes(integer(8))
        case 10, 11, 12: try bytes(8)
        default: throw Unknown()
        }
    }

    mutating func arrays() throws -> [String: [[UInt8]]] {
        guard try bytes(4) == Array("GGUF".utf8) else { throw Unknown() }
        _ = try bytes(4 + 8)
        var result: [String: [[UInt8]]] = [:]
        for _ in 0..<(try integer(8)) {
            let key = String(decoding: try value(8), as: UTF8.self)
            let type = try integer(4)
            if type == 9 {
                let element = try integer(4)
                var elements: [[UInt8]] = []
                for _ in 0..<(try integer(8)) { elements.append(try value(element)) }
                result[key] = elements
            } else {
                _ = try value(type)
            }
        }
        return result
    }
}
