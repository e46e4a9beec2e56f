import FuzzSupport
import LyraBase
import LyraText

/// Reads the input as the files of a tokenizer and a text, separated by zero bytes: tokenizer.json and the text; or
/// vocab.json, merges.txt, added_tokens.json, tokenizer_config.json and the text, without the middle ones if empty.
@_cdecl("LLVMFuzzerTestOneInput")
public func testOneInput(_ start: UnsafePointer<UInt8>?, _ count: Int) -> Int32 {
    let parts = FuzzInput(start, count).parts(limit: 5)
    guard let tokenizer = try? tokenizer(parts), let text = parts.last else { return 0 }
    checkRoundTrip(of: text, tokenizer)
    return 0
}

private func tokenizer(_ parts: [[UInt8]]) throws -> Tokenizer {
    func file(_ index: Int, _ name: String) -> NamedBytes { NamedBytes(name: name, bytes: parts[index]) }
    func optional(_ index: Int, _ name: String) -> NamedBytes? { parts[index].isEmpty ? nil : file(index, name) }
    guard parts.count == 5 else { return try Tokenizer(tokenizerJSON: file(0, "tokenizer.json")) }
    return try Tokenizer(
        vocabJSON: file(0, "vocab.json"), mergesText: file(1, "merges.txt"),
        addedTokensJSON: optional(2, "added_tokens.json"), tokenizerConfigJSON: optional(3, "tokenizer_config.json"))
}
