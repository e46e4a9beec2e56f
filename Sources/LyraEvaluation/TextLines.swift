import LyraBase
import LyraFormats

/// Reads text files line by line.
enum TextLines {
    /// Maximum size of a file in bytes. LibriSpeech's 960 hours have 50 MB of text.
    private static let sizeLimit = 1 << 30

    /// Calls `body` with every line that is not blank, without the line break, and with its place: "file, line 3".
    ///
    /// - Throws: `LyraError.format` if the file is not UTF-8, and any error of reading or of `body`.
    static func read(_ path: String, _ body: (_ line: String, _ place: String) throws -> Void) throws {
        try readBytes(path) { line, place in try body(text(line, place), place) }
    }

    /// The same for lines that begin with the name of a file, whose bytes need not be UTF-8.
    static func readBytes(_ path: String, _ body: (_ line: ArraySlice<UInt8>, _ place: String) throws -> Void) throws {
        let bytes = try MappedFile.contents(path: path, limit: sizeLimit)
        for (index, line) in bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false).enumerated() {
            let place = "\(path), line \(index + 1)"
            let line = line.last == UInt8(ascii: "\r") ? line.dropLast() : line
            let isBlank = String(validating: line, as: UTF8.self)?.allSatisfy(\.isWhitespace) ?? false
            if !isBlank { try body(line, place) }
        }
    }

    /// Whether the file's last line is finished.
    static func endsWithLineBreak(_ path: String) throws -> Bool {
        let file = try FileByteReader(regularFile: path)
        return try file.peek(max(file.size - 1, 0), 1, name: path) == [UInt8(ascii: "\n")]
    }

    /// Where the last line begins if no line break ends it; otherwise nil.
    static func unfinishedLine(_ path: String) throws -> String? {
        let bytes = try MappedFile.contents(path: path, limit: sizeLimit)
        guard let last = bytes.last, last != UInt8(ascii: "\n") else { return nil }
        return "\(path), line \(bytes.count { $0 == UInt8(ascii: "\n") } + 1)"
    }

    /// - Throws: `LyraError.format` if the bytes are not UTF-8.
    static func text(_ bytes: ArraySlice<UInt8>, _ place: String) throws -> String {
        guard let text = String(validating: bytes, as: UTF8.self) else {
            throw LyraError(.format, "\(place): not UTF-8 text")
        }
        return text
    }

    static func decode<T: Decodable>(_ type: T.Type, _ line: String, _ place: String) throws -> T {
        var line = line
        return try line.withUTF8 { try JSONText.decode(type, from: UnsafeRawBufferPointer($0), source: place) }
    }
}
