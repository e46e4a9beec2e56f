import Foundation
import LyraBase
import LyraText
import Testing

@Suite("Tokenizer files")
struct TokenizerFileTests {
    private func open(_ vocabulary: String, _ merges: String = "", added: String = "{}") throws -> Tokenizer {
        try Tokenizer(
            vocabJSON: NamedBytes(name: "vocab.json", bytes: Array(vocabulary.utf8)),
            mergesText: NamedBytes(name: "merges.txt", bytes: Array(merges.utf8)),
            addedTokensJSON: NamedBytes(name: "added_tokens.json", bytes: Array(added.utf8)))
    }

    /// vocab.json of the 256 bytes, with `more` members.
    private func bytesAnd(_ more: String = "", without left: Int? = nil) throws -> String {
        let members = try Qwen2Vocabulary().tokens.prefix(256).enumerated().filter { $0.offset != left }.map {
            id, token in
            let text = String(decoding: token, as: UTF8.self)
            return "\"\(text == "\"" || text == "\\" ? "\\" + text : text)\": \(id)"
        }
        return "{" + members.joined(separator: ", ") + more + "}"
    }

    private func message(_ body: () throws -> Tokenizer) -> String {
        do {
            _ = try body()
            return "no error"
        } catch {
            return (error as? LyraError)?.message ?? "another error: \(error)"
        }
    }

    @Test("An error in a vocabulary names the file and the entry")
    func errors() throws {
        let bytes = try bytesAnd()
        #expect(message { try open(bytes) } == "no error")
        let checks: [(String, String, String, [String])] = [
            (try bytesAnd(without: 5), "", "{}", ["vocab.json", "single byte 38"]),
            (try bytesAnd(#", "ab": 7"#), "", "{}", ["vocab.json", "two tokens have the id 7"]),
            (try bytesAnd(#", "a": 300"#), "", "{}", ["vocab.json", "the same token"]),
            (try bytesAnd(#", "ab": -1"#), "", "{}", ["vocab.json", "\"ab\"", "-1"]),
            (try bytesAnd(#", "ab": 4000000000"#), "", "{}", ["vocab.json", "4000000000"]),
            (try bytesAnd(#", "ab": 99999999999999999999"#), "", "{}", ["vocab.json", "too large", "byte"]),
            (try bytesAnd(#", "ab": 256.5"#), "", "{}", ["vocab.json", "whole number"]),
            (try bytesAnd(#", "a b": 256"#), "", "{}", ["vocab.json", "\"a b\"", "alphabet"]),
            (try bytesAnd(#", "": 256"#), "", "{}", ["vocab.json", "empty"]),
            (bytes, "a b", "{}", ["merges.txt", "merge 0", "\"ab\""]),
            (try bytesAnd(#", "ab": 256"#), "a b\na b\n", "{}", ["merges.txt", "merge 1", "twice"]),
            (bytes, "a b c", "{}", ["merges.txt", "line 1"]),
            (bytes, "#version\nab", "{}", ["merges.txt", "line 2"]),
            (bytes, " b", "{}", ["merges.txt", "merge 0", "empty token"]),
            (bytes, "", #"{"<x>": 3}"#, ["added_tokens.json", "\"<x>\"", "3"]),
            (bytes, "", #"{"<x>": 300, "<y>": 300}"#, ["added_tokens.json", "300"]),
            (bytes, "", #"{"<x>": 300, "<x>": 301}"#, ["added_tokens.json", "two ids"]),
            (bytes, "", #"{"": 300}"#, ["added_tokens.json", "bytes long"]),
            (bytes, "", #"{"\ud800": 300}"#, ["added_tokens.json", "surrogate"]),
            ("[]", "", "{}", ["vocab.json", "'{'"]),
            (bytes + "x", "", "{}", ["vocab.json", "follows the end"]),
        ]
        for (vocabulary, merges, added, words) in checks {
            let message = message { try open(vocabulary, merges, added: added) }
            for word in words { #expect(message.contains(word), "\(word) in: \(message)") }
        }
    }

    @Test("A tokenizer.json of another kind is refused as unsupported")
    func otherKinds() throws {
        let text = String(decoding: try Fixtures.file("tokenizer.json").bytes, as: UTF8.self)
        for (old, new) in [
            (#""type":"BPE""#, #""type":"Unigram""#), (#"{"type":"NFC"}"#, #"{"type":"NFKC"}"#),
            (#"|\\p{N}|"#, #"|\\p{N}{1,3}|"#),
            (#""byte_fallback":false"#, #""byte_fallback":true"#), (#""lstrip":false"#, #""lstrip":true"#),
        ] {
            let changed = text.replacing(old, with: new)
            #expect(changed != text)
            do {
                _ = try Tokenizer(tokenizerJSON: NamedBytes(name: "t", bytes: Array(changed.utf8)))
                Issue.record("\(new) was accepted")
            } catch {
                #expect((error as? LyraError)?.code == .unsupported, "\(error)")
            }
        }
        let deep = String(repeating: "[", count: 100_000)
        let nested = NamedBytes(name: "t", bytes: Array(("{\"x\":" + deep).utf8))
        #expect(throws: LyraError.self) { try Tokenizer(tokenizerJSON: nested) }
    }

    @Test(
        "Truncated at 50 places or with one of 200 bytes changed, a file opens or gives a LyraError that names it",
        arguments: ["vocab.json", "merges.txt", "added_tokens.json", "tokenizer_config.json", "tokenizer.json"])
    func damage(name: String) throws {
        let whole = try Fixtures.file(name).bytes
        var generator = SeededGenerator(state: 7)
        var variants = (0..<50).map { Array(whole.prefix(whole.count * $0 / 50)) }
        for _ in 0..<200 {
            var changed = whole
            changed[Int.random(in: changed.indices, using: &generator)] ^=
                1 << UInt8.random(in: 0..<8, using: &generator)
            variants.append(changed)
        }
        for bytes in variants {
            func file(_ other: String) throws -> NamedBytes {
                other == name ? NamedBytes(name: name, bytes: bytes) : try Fixtures.file(other)
            }
            do {
                let tokenizer =
                    if name == "tokenizer.json" {
                        try Tokenizer(tokenizerJSON: file(name))
                    } else {
                        try Tokenizer(
                            vocabJSON: file("vocab.json"), mergesText: file("merges.txt"),
                            addedTokensJSON: file("added_tokens.json"),
                            tokenizerConfigJSON: file("tokenizer_config.json"))
                    }
                #expect(try !tokenizer.encode("Hello, world! <|im_end|>\n").isEmpty)
            } catch {
                #expect(
                    ((error as? LyraError)?.message ?? "").contains(".json") || "\(error)".contains(".txt"), "\(error)")
            }
        }
    }
}
