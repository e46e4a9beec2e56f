import LyraBase

/// The four forms of strings.
extension TOMLScanner {
    /// `"…"` on one line, with escapes.
    mutating func basicString() throws -> String {
        let start = index
        index += 1
        var result = String.UnicodeScalarView()
        while true {
            guard let scalar = peek(), scalar != "\n", scalar != "\r" else { throw unclosed("\"", start) }
            index += 1
            switch scalar {
            case "\"": return String(result)
            case "\\": result.append(try escape())
            default: result.append(try checked(scalar))
            }
        }
    }

    /// `'…'` on one line, without escapes.
    mutating func literalString() throws -> String {
        let start = index
        index += 1
        var result = String.UnicodeScalarView()
        while true {
            guard let scalar = peek(), scalar != "\n", scalar != "\r" else { throw unclosed("'", start) }
            index += 1
            if scalar == "'" { return String(result) }
            result.append(try checked(scalar))
        }
    }

    /// After `"""`. A line break right there is left out, and so are a line break after a backslash and all white space
    /// that follows it. CR LF becomes LF.
    mutating func multilineBasicString(_ start: Int) throws -> String {
        var result = String.UnicodeScalarView()
        _ = takeLineBreak()
        while true {
            if let quotes = try closing("\"", start) {
                result.append(contentsOf: quotes)
                return String(result)
            }
            if takeLineBreak() {
                result.append("\n")
            } else if take("\\") {
                if skipContinuation() { continue }
                result.append(try escape())
            } else if let scalar = peek() {
                index += 1
                result.append(try checked(scalar))
            }
        }
    }

    /// After `'''`, the same without escapes.
    mutating func multilineLiteralString(_ start: Int) throws -> String {
        var result = String.UnicodeScalarView()
        _ = takeLineBreak()
        while true {
            if let quotes = try closing("'", start) {
                result.append(contentsOf: quotes)
                return String(result)
            }
            if takeLineBreak() {
                result.append("\n")
            } else if let scalar = peek() {
                index += 1
                result.append(try checked(scalar))
            }
        }
    }

    /// Takes three to five quotation marks, which end a string. → those before the last three, or nil if the string
    /// goes on
    private mutating func closing(_ mark: Unicode.Scalar, _ start: Int) throws -> [Unicode.Scalar]? {
        guard peek() != nil else { throw unclosed("\(mark)\(mark)\(mark)", start) }
        var count = 0
        while count < 5, peek(count) == mark { count += 1 }
        guard count >= 3 else { return nil }
        index += count
        return Array(repeating: mark, count: count - 3)
    }

    /// After a backslash: skips blanks up to a line break, it, and all white space after it. → false, and nothing is
    /// skipped, if there is no line break
    private mutating func skipContinuation() -> Bool {
        let start = index
        skipBlanks()
        guard takeLineBreak() else {
            index = start
            return false
        }
        repeat { skipBlanks() } while takeLineBreak()
        return true
    }

    /// After a backslash.
    private mutating func escape() throws -> Unicode.Scalar {
        let start = index - 1
        guard let scalar = peek() else { throw error("an escape is not complete", at: start) }
        index += 1
        switch scalar {
        case "b": return "\u{8}"
        case "t": return "\t"
        case "n": return "\n"
        case "f": return "\u{C}"
        case "r": return "\r"
        case "\"", "\\": return scalar
        case "u": return try codePoint(digits: 4, start)
        case "U": return try codePoint(digits: 8, start)
        default:
            throw error(
                "\\\(scalar) is not an escape; a backslash itself is \\\\, or the text stands in ' marks", at: start)
        }
    }

    private mutating func codePoint(digits count: Int, _ start: Int) throws -> Unicode.Scalar {
        var value: UInt32 = 0
        for _ in 0..<count {
            guard let digit = peek().flatMap({ $0.isASCII ? UInt32(String($0), radix: 16) : nil }) else {
                throw error("an escape needs \(count) hexadecimal digits", at: start)
            }
            value = value << 4 | digit
            index += 1
        }
        guard let scalar = Unicode.Scalar(value) else {
            throw error("an escape names no Unicode character", at: start)
        }
        return scalar
    }

    private func checked(_ scalar: Unicode.Scalar) throws -> Unicode.Scalar {
        guard !Self.isControl(scalar) else {
            throw error("text has the control character \(shown(String(scalar)))", at: index - 1)
        }
        return scalar
    }

    private func unclosed(_ mark: String, _ start: Int) -> LyraError {
        error("the text does not end: \(mark) is missing", at: start)
    }
}
