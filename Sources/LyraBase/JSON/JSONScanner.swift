/// A pull parser for JSON. It skips values that the caller does not request, so a hostile text costs no more memory
/// than the caller keeps. Strings are bytes, so that canonically equivalent keys stay distinct. Every error names the
/// file and the byte offset.
public struct JSONScanner {
    /// The whole text; it must outlive the scanner.
    private let bytes: UnsafeRawBufferPointer
    private let source: String
    public private(set) var position = 0

    /// Values nested deeper than this are refused, so that hostile input cannot exhaust the stack.
    private static let depthLimit = 64
    private var depth = 0

    /// - Parameter source: the file, for messages
    public init(_ bytes: UnsafeRawBufferPointer, source: String) {
        (self.bytes, self.source) = (bytes, source)
        // A byte order mark, which some editors write.
        if bytes.starts(with: [0xEF, 0xBB, 0xBF]) { position = 3 }
    }

    /// Reads one text from its start to its end.
    ///
    /// - Parameter body: must consume exactly one value
    /// - Throws: any error of `body`; `LyraError.format` if there is text after the value.
    public static func read<Result>(
        _ bytes: UnsafeRawBufferPointer, source: String, _ body: (inout JSONScanner) throws -> Result
    ) throws -> Result {
        var scanner = JSONScanner(bytes, source: source)
        let result = try body(&scanner)
        try scanner.end()
        return result
    }

    public func error(_ reason: String) -> LyraError {
        LyraError(.format, "\(source): \(reason) (at byte \(position))")
    }

    /// The next byte that is not white space, not consumed.
    public mutating func peek() throws -> UInt8 {
        while position < bytes.count {
            switch bytes[position] {
            case 0x20, 0x09, 0x0A, 0x0D: position += 1
            default: return bytes[position]
            }
        }
        throw error("the JSON text ends too early; the file may be truncated")
    }

    /// Throws unless only white space is left.
    public mutating func end() throws {
        while position < bytes.count, [0x20, 0x09, 0x0A, 0x0D].contains(bytes[position]) { position += 1 }
        guard position == bytes.count else { throw error("text follows the end of the JSON value") }
    }

    private mutating func expect(_ byte: UInt8) throws {
        guard try peek() == byte else {
            throw error("expected '\(Character(Unicode.Scalar(byte)))'")
        }
        position += 1
    }

    /// Maximum bytes of a key; a longer key is rejected.
    private static let keyLimit = 65_535

    /// Reads an object; `member` must consume exactly the member's value.
    public mutating func object(_ member: (inout JSONScanner, _ key: [UInt8]) throws -> Void) throws {
        var key: [UInt8] = []
        try list(open: UInt8(ascii: "{"), close: UInt8(ascii: "}")) { scanner in
            try scanner.string(into: &key, limit: Self.keyLimit)
            try scanner.expect(UInt8(ascii: ":"))
            try member(&scanner, key)
        }
    }

    /// Reads an array; `element` must consume exactly one value.
    public mutating func array(_ element: (inout JSONScanner) throws -> Void) throws {
        try list(open: UInt8(ascii: "["), close: UInt8(ascii: "]"), element)
    }

    private mutating func list(
        open: UInt8, close: UInt8, _ element: (inout JSONScanner) throws -> Void
    ) throws {
        try expect(open)
        guard depth < Self.depthLimit else { throw error("values are nested deeper than \(Self.depthLimit)") }
        depth += 1
        defer { depth -= 1 }
        if try peek() == close {
            position += 1
            return
        }
        while true {
            try element(&self)
            let byte = try peek()
            guard byte == close || byte == UInt8(ascii: ",") else {
                throw error("expected ',' or '\(Character(Unicode.Scalar(close)))'")
            }
            position += 1
            if byte == close { return }
        }
    }

    /// Reads an integer without fraction or exponent.
    public mutating func integer() throws -> Int {
        let negative = try peek() == UInt8(ascii: "-")
        if negative { position += 1 }
        guard let value = Int(exactly: try digits()) else { throw error("the number is too large") }
        return negative ? -value : value
    }

    /// Reads an integer of 0 or more without fraction or exponent.
    public mutating func unsignedInteger() throws -> UInt64 {
        _ = try peek()
        return try digits()
    }

    private mutating func digits() throws -> UInt64 {
        let start = position
        var value: UInt64 = 0
        while position < bytes.count, (0x30...0x39).contains(bytes[position]) {
            let digit = UInt64(bytes[position] - 0x30)
            guard let next = value.checkedMultiplying(by: 10)?.checkedAdding(digit) else {
                throw error("the number is too large")
            }
            value = next
            position += 1
        }
        guard position > start else { throw error("expected a whole number") }
        if position < bytes.count, [0x2E, 0x45, 0x65].contains(bytes[position]) {
            throw error("expected a whole number")
        }
        return value
    }

    /// Reads `true` or `false`.
    public mutating func boolean() throws -> Bool {
        if try literal("true") { return true }
        if try literal("false") { return false }
        throw error("expected true or false")
    }

    /// Consumes `null` if it comes next.
    public mutating func null() throws -> Bool { try literal("null") }

    private mutating func literal(_ word: StaticString) throws -> Bool {
        _ = try peek()
        guard bytes.count - position >= word.utf8CodeUnitCount else { return false }
        for offset in 0..<word.utf8CodeUnitCount where bytes[position + offset] != word.utf8Start[offset] {
            return false
        }
        position += word.utf8CodeUnitCount
        return true
    }

    /// Consumes one value of any kind.
    public mutating func skip() throws {
        switch try peek() {
        case UInt8(ascii: "{"): try object { scanner, _ in try scanner.skip() }
        case UInt8(ascii: "["): try array { scanner in try scanner.skip() }
        case UInt8(ascii: "\""): try skipString()
        case UInt8(ascii: "t"), UInt8(ascii: "f"): _ = try boolean()
        case UInt8(ascii: "n"):
            guard try null() else { throw error("expected null") }
        default: _ = try numberRange()
        }
    }

    private mutating func skipString() throws {
        var ignored: [UInt8] = []
        try expect(UInt8(ascii: "\""))
        while position < bytes.count {
            switch bytes[position] {
            case UInt8(ascii: "\""):
                position += 1
                return
            case UInt8(ascii: "\\"):
                try escape(into: &ignored)
                ignored.removeAll(keepingCapacity: true)
            case 0..<0x20: throw error("a string contains an unescaped control character")
            default: position += 1
            }
        }
        throw error("a string does not end; the file may be truncated")
    }

    /// Reads a number of any kind.
    public mutating func number() throws -> Double {
        let text = try numberText()
        guard let number = Double(text) else { throw error("the number \(text) cannot be read") }
        return number
    }

    /// Reads a number of any kind as text: at most 64 bytes.
    mutating func numberText() throws -> String {
        let range = try numberRange()
        guard range.count <= 64 else {
            position = range.lowerBound
            throw error("a number is longer than 64 bytes")
        }
        return String(decoding: bytes[range], as: UTF8.self)
    }

    /// Consumes a number: `-`, digits without leading zeros, a fraction, an exponent (RFC 8259, section 6).
    private mutating func numberRange() throws -> Range<Int> {
        _ = try peek()
        let start = position
        func failure(_ scanner: inout JSONScanner) -> LyraError {
            scanner.position = start
            return scanner.error("expected a JSON value")
        }
        _ = skip([UInt8(ascii: "-")])
        let hasLeadingZero = position < bytes.count && bytes[position] == UInt8(ascii: "0")
        let digits = skipDigits()
        guard digits == 1 || digits > 1 && !hasLeadingZero else { throw failure(&self) }
        if skip([UInt8(ascii: ".")]), skipDigits() == 0 { throw failure(&self) }
        if skip([UInt8(ascii: "e"), UInt8(ascii: "E")]) {
            _ = skip([UInt8(ascii: "+"), UInt8(ascii: "-")])
            guard skipDigits() > 0 else { throw failure(&self) }
        }
        return start..<position
    }

    /// Consumes the next byte if it is one of these.
    private mutating func skip(_ choices: [UInt8]) -> Bool {
        guard position < bytes.count, choices.contains(bytes[position]) else { return false }
        position += 1
        return true
    }

    /// Consumes digits. → their number
    private mutating func skipDigits() -> Int {
        let start = position
        while position < bytes.count, (0x30...0x39).contains(bytes[position]) { position += 1 }
        return position - start
    }

    /// Reads a string as a new array of bytes.
    public mutating func string() throws -> [UInt8] {
        var result: [UInt8] = []
        try string(into: &result)
        return result
    }

    /// Reads a string as text.
    ///
    /// - Parameter limit: maximum bytes of the string
    /// - Throws: `LyraError.format` if the string is longer, or not UTF-8.
    public mutating func text(limit: Int) throws -> String {
        var result: [UInt8] = []
        try string(into: &result, limit: limit)
        guard let text = String(validating: result, as: UTF8.self) else { throw error("a string is not UTF-8") }
        return text
    }

    /// Reads a string into `output`, replacing its content. The bytes are UTF-8 if the file is.
    ///
    /// - Parameter limit: maximum bytes of the string
    public mutating func string(into output: inout [UInt8], limit: Int = .max) throws {
        try expect(UInt8(ascii: "\""))
        output.removeAll(keepingCapacity: true)
        while position < bytes.count {
            guard output.count <= limit else { throw error("a string is longer than \(limit) bytes") }
            let byte = bytes[position]
            switch byte {
            case UInt8(ascii: "\""):
                position += 1
                return
            case UInt8(ascii: "\\"): try escape(into: &output)
            case 0..<0x20: throw error("a string contains an unescaped control character")
            default:
                output.append(byte)
                position += 1
            }
        }
        throw error("a string does not end; the file may be truncated")
    }

    private mutating func escape(into output: inout [UInt8]) throws {
        guard position + 1 < bytes.count else { throw error("a string does not end; the file may be truncated") }
        let letter = bytes[position + 1]
        position += 2
        switch letter {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): output.append(letter)
        case UInt8(ascii: "b"): output.append(0x08)
        case UInt8(ascii: "f"): output.append(0x0C)
        case UInt8(ascii: "n"): output.append(0x0A)
        case UInt8(ascii: "r"): output.append(0x0D)
        case UInt8(ascii: "t"): output.append(0x09)
        case UInt8(ascii: "u"):
            var value = try hexadecimal()
            if (0xD800..<0xDC00).contains(value) {
                guard bytes.count - position >= 2, bytes[position] == UInt8(ascii: "\\"),
                    bytes[position + 1] == UInt8(ascii: "u")
                else { throw error("half a surrogate pair") }
                position += 2
                let low = try hexadecimal()
                guard (0xDC00..<0xE000).contains(low) else { throw error("half a surrogate pair") }
                value = 0x10000 + (value - 0xD800) << 10 + (low - 0xDC00)
            }
            guard let scalar = Unicode.Scalar(value) else { throw error("half a surrogate pair") }
            output.append(contentsOf: scalar.utf8)
        default: throw error("unknown escape in a string")
        }
    }

    private mutating func hexadecimal() throws -> UInt32 {
        guard bytes.count - position >= 4 else {
            throw error("a string does not end; the file may be truncated")
        }
        var value: UInt32 = 0
        for byte in bytes[position..<position + 4] {
            guard let digit = Character(Unicode.Scalar(byte)).hexDigitValue else {
                throw error("expected four hexadecimal digits")
            }
            value = value << 4 | UInt32(digit)
        }
        position += 4
        return value
    }
}
