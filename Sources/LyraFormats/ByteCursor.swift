import LyraBase

/// Reads little-endian numbers and runs of bytes from a part of a file, each read checked against its end.
struct ByteCursor {
    let bytes: UnsafeRawBufferPointer
    /// The file, for messages.
    let source: String
    /// What is being read ("the pickle", "the central directory"), for messages.
    let part: String
    /// Where `bytes` begins in the file.
    let base: Int
    /// The next byte to read, counted from the start of `bytes`; never beyond its end.
    private(set) var position = 0

    /// - Parameter range: The part of `file` to read; it must lie within the file.
    init(_ file: MappedFile, _ range: Range<Int>, part: String) throws {
        guard range.lowerBound >= 0, range.upperBound <= file.bytes.count else {
            throw LyraError(
                .format,
                "\(file.path): \(part) should be at bytes \(range), beyond the end of the file at \(file.bytes.count): "
                    + "the file is damaged or truncated")
        }
        bytes = UnsafeRawBufferPointer(rebasing: file.bytes[range])
        source = file.path
        base = range.lowerBound
        self.part = part
    }

    /// Where the next byte lies in the file.
    var offset: Int { base + position }
    var remaining: Int { bytes.count - position }

    /// The next `count` bytes.
    mutating func take(_ count: Int) throws -> UnsafeRawBufferPointer {
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
    mutating func integer<T: FixedWidthInteger>(_ type: T.Type = T.self) throws -> T {
        T(littleEndian: try take(MemoryLayout<T>.size).loadUnaligned(as: T.self))
    }

    /// The next `count` bytes as text.
    mutating func text(_ count: Int) throws -> String {
        let start = offset
        guard let text = String(validating: try take(count), as: UTF8.self) else {
            throw LyraError(.format, "\(source): \(part): the text at byte \(start) is not UTF-8; the file is damaged")
        }
        return text
    }

    /// Text up to the next line feed, which is read too.
    ///
    /// - Parameter limit: The most bytes that the line may have.
    mutating func line(limit: Int) throws -> String {
        let rest = bytes[position..<position + min(limit + 1, remaining)]
        guard let end = rest.firstIndex(of: UInt8(ascii: "\n")) else {
            throw LyraError(.format, "\(source): \(part): the line at byte \(offset) does not end; the file is damaged")
        }
        defer { position += 1 }
        return try text(end - position)
    }
}
