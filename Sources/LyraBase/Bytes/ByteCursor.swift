/// Reads little-endian numbers and runs of bytes from a part of a file, each read checked against its end.
package struct ByteCursor {
    package let bytes: UnsafeRawBufferPointer
    /// The file, for messages.
    package let source: String
    /// What is being read ("the pickle", "the central directory"), for messages.
    package let part: String
    /// Where `bytes` begins in the file.
    package let base: Int
    /// The next byte to read, counted from the start of `bytes`; never beyond its end.
    package private(set) var position = 0

    /// - Parameter base: where `bytes` begins in the file
    package init(_ bytes: UnsafeRawBufferPointer, at base: Int, source: String, part: String) {
        (self.bytes, self.base, self.source, self.part) = (bytes, base, source, part)
    }

    /// Where the next byte lies in the file.
    package var offset: Int { base + position }
    package var remaining: Int { bytes.count - position }

    /// The next `count` bytes.
    package mutating func take(_ count: Int) throws -> UnsafeRawBufferPointer {
        guard count >= 0, count <= remaining else {
            throw LyraError(
                .format,
                "\(source): \(part) breaks off at byte \(offset): \(count) more bytes are needed and \(remaining) are "
                    + "there; the file is damaged or truncated")
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
            throw LyraError(.format, "\(source): \(part): the text at byte \(start) is not UTF-8; the file is damaged")
        }
        return text
    }

    /// Text up to the next line feed, which is read too.
    ///
    /// - Parameter limit: The most bytes that the line may have.
    package mutating func line(limit: Int) throws -> String {
        let rest = bytes[position..<position + min(limit + 1, remaining)]
        guard let end = rest.firstIndex(of: UInt8(ascii: "\n")) else {
            throw LyraError(.format, "\(source): \(part): the line at byte \(offset) does not end; the file is damaged")
        }
        defer { position += 1 }
        return try text(end - position)
    }
}
