import LyraBase
import LyraFormats

/// The examples of a data file, a JSON list or JSON lines, one after the other. Only the current example is in memory.
package struct ExampleReader {
    /// One example as the file has it.
    package struct Item {
        /// "file: example 3", for messages.
        package let place: String
        /// The bytes of the JSON object, within the file's mapping.
        let bytes: UnsafeRawBufferPointer

        /// The texts under a key: one for a string, several for a list of strings; nil if the key is absent or null.
        ///
        /// - Throws: `LyraError.format` if the value is of another kind.
        package func texts(_ key: String) throws -> [String]? {
            try JSONScanner.read(bytes, source: place) { scanner in
                var found: [String]?
                try scanner.object { scanner, name in
                    guard name.elementsEqual(key.utf8) else { return try scanner.skip() }
                    if try !scanner.null() { found = try scanner.texts() }
                }
                return found
            }
        }

        /// All keys, in the order of the file.
        package func keys() throws -> [String] {
            try JSONScanner.read(bytes, source: place) { scanner in
                var keys: [String] = []
                try scanner.object { scanner, name in
                    keys.append(String(decoding: name, as: UTF8.self))
                    try scanner.skip()
                }
                return keys
            }
        }

        /// The object on one line with `key` set to a text; all other members keep their bytes.
        package func setting(_ key: String, to text: String) throws -> [UInt8] {
            var result: [UInt8] = []
            func append(_ name: [UInt8], _ value: some Sequence<UInt8>) {
                result += result.isEmpty ? [UInt8(ascii: "{")] : Array(", ".utf8)
                result += JSONText.quoted(String(decoding: name, as: UTF8.self)).utf8
                result += ": ".utf8
                result += value
            }
            try JSONScanner.read(bytes, source: place) { scanner in
                try scanner.object { scanner, name in
                    _ = try scanner.peek()
                    let start = scanner.position
                    try scanner.skip()
                    if !name.elementsEqual(key.utf8) { append(name, oneLine(bytes[start..<scanner.position])) }
                }
            }
            append(Array(key.utf8), JSONText.quoted(text).utf8)
            return result + [UInt8(ascii: "}")]
        }

        /// The object on one line, otherwise unchanged.
        package var line: [UInt8] { oneLine(bytes[...]) }
    }

    private let file: MappedFile

    /// - Throws: `LyraError` if the file cannot be opened.
    package init(path: String) throws { file = try MappedFile(path: path) }

    /// Calls `body` with each example.
    ///
    /// - Throws: `LyraError.format`, naming the file and the byte, for what is not JSON, or an example that is not an
    ///   object or not UTF-8; any error of `body`.
    package func forEach(_ body: (Item) throws -> Void) throws {
        var scanner = JSONScanner(file.bytes, source: file.path)
        var count = 0
        func example(_ scanner: inout JSONScanner) throws {
            guard try scanner.peek() == UInt8(ascii: "{") else { throw scanner.error("expected an example: an object") }
            let start = scanner.position
            try scanner.skip()
            count += 1
            let bytes = UnsafeRawBufferPointer(rebasing: file.bytes[start..<scanner.position])
            guard String(validating: bytes, as: UTF8.self) != nil else {
                throw scanner.error("example \(count) is not UTF-8 text; data files are JSON in UTF-8")
            }
            try body(Item(place: "\(file.path): example \(count)", bytes: bytes))
        }
        defer { withExtendedLifetime(file) {} }
        guard file.bytes.contains(where: { !isSpace($0) }) else {
            throw LyraError(.format, "\(file.path): empty; expected a JSON list or JSON lines")
        }
        if try scanner.peek() == UInt8(ascii: "[") {
            try scanner.array { try example(&$0) }
            return try scanner.end()
        }
        while file.bytes[scanner.position...].contains(where: { !isSpace($0) }) { try example(&scanner) }
    }
}

private func isSpace(_ byte: UInt8) -> Bool { [0x20, 0x09, 0x0A, 0x0D].contains(byte) }

/// JSON without the line breaks between its values; strings have none.
private func oneLine(_ json: Slice<UnsafeRawBufferPointer>) -> [UInt8] { json.filter { $0 != 0x0A && $0 != 0x0D } }

extension JSONScanner {
    /// A string, or a list of strings.
    fileprivate mutating func texts() throws -> [String] {
        switch try peek() {
        case UInt8(ascii: "\""): return [try text(limit: .max)]
        case UInt8(ascii: "["):
            var texts: [String] = []
            try array { texts.append(try $0.text(limit: .max)) }
            return texts
        default: throw error("expected a text or a list of texts")
        }
    }
}
