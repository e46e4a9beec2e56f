import LyraText

/// Encodes a text, decodes it token by token, and stops the program if the two ways to decode differ or the text has
/// changed in another way than normalisation and special tokens explain.
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
            fatalError("decoded token by token, the text is another")
        }
        // Strings are equal if their normalised forms are.
        guard joined == String(decoding: text, as: UTF8.self) else {
            fatalError("decoding does not give the text back")
        }
    }
}
