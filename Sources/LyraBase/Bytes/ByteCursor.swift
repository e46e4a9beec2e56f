/// Reads little-endian integers, bytes and text from a section of a file. No read passes the section's end.
package struct ByteCursor {
    package let bytes: UnsafeRawBufferPointer
    /// The file, for messages.
    package let source: String
    /// The section's name for messages: "the pickle", "the zip directory".
    package let section: String
    /// Offset of `bytes` in the file.
    package let base: Int
    /// Index in `bytes` of the next byte to read; at most `bytes.count`.
    package private(set) var position = 0

    /// - Parameter base: offset of `bytes` in the file
    package init(_ bytes: UnsafeRawBufferPointer, at base: Int, source: String, section: String) {
        (self.bytes, self.base, self.source, self.section) = (bytes, base, source, section)
    }

    /// Offset of the next byte in the file.
    package var offset: Int { base + position }
    package var remaining: Int { bytes.count - position }

    /// The next `count` bytes.
    package mutating func take(_ count: Int) throws -> UnsafeRawBufferPointer {
        guard count >= 0, count <= remaining else {
            throw LyraError(
                .format,
                "\(source): \(section) breaks off at byte \(offset): it needs \(count) more bytes, but only "
                    + "\(remaining) remain; the file is damaged or truncated")
        }
        defer { position += count }
        return UnsafeRawBufferPointer(rebasing: bytes[position..<position + count])
    }

    /// The next bytes as an integer, least significant byte first.
    package mutating func integer<T: FixedWidthInteger>(_ type: T.Type = T.self) throws -> T {
        T(littleEndian: try take(MemoryLayout<T>.size).loadUnaligned(as: T.self))
    }

    /// The next `count` bytes as text.
    package mutating func text(_ count: Int) throws -> String {
        let start = offset
        guard let text = String(validating: try take(count), as: UTF8.self) else {
            throw LyraError(
                .format, "\(source): \(section): the text at byte \(start) is not UTF-8; the file is damaged")
        }
        return text
    }

    /// The text up to the next line feed. Consumes the line feed, too.
    ///
    /// - Parameter limit: maximum bytes of the line
    package mutating func line(limit: Int) throws -> String {
        let rest = bytes[position..<position + min(limit + 1, remaining)]
        guard let end = rest.firstIndex(of: UInt8(ascii: "\n")) else {
            throw LyraError(
                .format, "\(source): \(section): the line at byte \(offset) does not end; the file is damaged")
        }
        defer { position += 1 }
        return try text(end - position)
    }
}
