import FuzzSupport
import LyraBase
import LyraText

@testable import LyraFormats

/// Tokenizes the input with the fixtures' tokenizer: as a whole, and as two segments around the first zero byte, of
/// which the second does not allow special tokens.
@_cdecl("LLVMFuzzerTestOneInput")
public func testOneInput(_ start: UnsafePointer<UInt8>?, _ count: Int) -> Int32 {
    let input = FuzzInput(start, count)
    checkRoundTrip(of: [UInt8](input.bytes), tokenizer)
    let parts = input.parts(limit: 2)
    do {
        use(try tokenizer.encode(parts.enumerated().map { TextSegment($0.element, allowSpecial: $0.offset == 0) }))
    } catch {
        fatalError("text was refused: \(error)")
    }
    return 0
}

private let tokenizer: Tokenizer = {
    do {
        let parts = #filePath.split(separator: "/").dropLast(4)
        let folder = "/" + parts.joined(separator: "/") + "/Fixtures/tokenizer/"
        func file(_ name: String) throws -> NamedBytes {
            NamedBytes(name: name, bytes: try MappedFile.contents(path: folder + name, limit: 1 << 20))
        }
        return try Tokenizer(
            vocabJSON: file("vocab.json"), mergesText: file("merges.txt"), addedTokensJSON: file("added_tokens.json"),
            tokenizerConfigJSON: file("tokenizer_config.json"))
    } catch {
        fatalError("the fixtures' tokenizer cannot be read: \(error)")
    }
}()
