/// Removes from a line of a subtitle what is not said.
enum CueText {
    /// The line without mark-up (`<i>`, `<v Speaker>`, `<00:01.000>`, `{\an8}`), with entities written out, without
    /// descriptions of sounds in square brackets, and without the marks of a new speaker and of music.
    static func plain(_ line: String) -> String {
        var text = without(line, from: "<", to: ">") { tag in
            guard let first = tag.first else { return false }
            return first == "/" || first == "." || first.isASCII && (first.isLetter || first.isNumber)
        }
        text = without(text, from: "{", to: "}") { $0.first == "\\" }
        text = entities(text)
        text = without(text, from: "[", to: "]") { _ in true }
        text.removeAll { "♪♫♬\u{200B}\u{FEFF}\u{200E}\u{200F}".contains($0) }
        let words = text.split { character in
            character.isWhitespace
                || character.unicodeScalars.allSatisfy { $0.properties.generalCategory == .control }
        }
        return words.drop { [">>", ">>>", "-", "–", "—", ">"].contains($0) }.joined(separator: " ")
    }

    /// Removes each part between two characters, with them, if `isRemoved` says so of what is between. A part that does
    /// not end on the line stays.
    private static func without(
        _ text: String, from open: Character, to close: Character, _ isRemoved: (Substring) -> Bool
    ) -> String {
        guard text.contains(open) else { return text }
        var result = "", rest = Substring(text)
        while let start = rest.firstIndex(of: open) {
            let inside = rest[rest.index(after: start)...]
            guard let end = inside.firstIndex(of: close) else { break }
            // With several opening characters, the last one belongs to the closing one.
            let last = inside[..<end].lastIndex(of: open).map { inside.index(after: $0) }
            let inner = inside[(last ?? inside.startIndex)..<end]
            let isTag = isRemoved(inner)
            let tagStart = rest.index(before: inner.startIndex)
            result += rest[..<(isTag ? tagStart : rest.index(after: end))]
            rest = rest[rest.index(after: end)...]
        }
        return result + rest
    }

    private static let named: [String: String] = [
        "amp": "&", "lt": "<", "gt": ">", "nbsp": " ", "quot": "\"", "apos": "'", "lrm": "", "rlm": "",
    ]

    /// Longest entity between & and ;
    private static let entityLimit = 8

    private static func entities(_ text: String) -> String {
        guard text.contains("&") else { return text }
        var result = "", rest = Substring(text)
        while let start = rest.firstIndex(of: "&") {
            result += rest[..<start]
            let inside = rest[rest.index(after: start)...]
            guard let end = inside.prefix(entityLimit + 1).firstIndex(of: ";"), let value = value(inside[..<end]) else {
                result.append("&")
                rest = inside
                continue
            }
            result += value
            rest = inside[inside.index(after: end)...]
        }
        return result + rest
    }

    private static func value(_ entity: Substring) -> String? {
        if let text = named[String(entity)] { return text }
        guard entity.first == "#" else { return nil }
        let digits = entity.dropFirst()
        let isHexadecimal = digits.first == "x" || digits.first == "X"
        let code = isHexadecimal ? UInt32(digits.dropFirst(), radix: 16) : UInt32(digits, radix: 10)
        return code.flatMap { Unicode.Scalar($0) }.map { String(Character($0)) }
    }
}
