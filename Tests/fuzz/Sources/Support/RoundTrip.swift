import LyraText

/// Encodes a text and decodes it in both ways. Ends the program if they differ, or if the text has changed otherwise
/// than by normalization and special tokens.
public func checkRoundTrip(of text: [UInt8], _ tokenizer: Tokenizer) {
    for allowSpecial in [true, false] {
        let ids: [Int32]
        do {
            ids = try tokenizer.encode(text, allowSpecial: allowSpecial)
        } catch {
            fatalError("text was refused: \(error)")
        }
        var detokenizer = Detokenizer(tokenizer, keepSpecial: true)
        var joined = ""
        for id in ids { joined += detokenizer.append(id) }
        joined += detokenizer.finish()
        let bytes = ids.flatMap { id -> [UInt8] in
            guard let bytes = tokenizer.bytes(of: id) else {
                fatalError("text was encoded as \(id), which is no token")
            }
            return bytes
        }
        guard joined.utf8.elementsEqual(String(decoding: bytes, as: UTF8.self).utf8) else {
            fatalError("decoded token by token, the text differs")
        }
        // Swift compares strings in normalized form.
        guard joined == String(decoding: text, as: UTF8.self) else {
            fatalError("decoding does not give the text back")
        }
    }
}
