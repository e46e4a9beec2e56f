import LyraBase

/// Tags in front of a file's own format: ID3v2 and APEv2. Their content, often an image, can look like any format.
enum LeadingTags {
    /// The most tags in a row that are skipped.
    private static let maxTags = 64

    /// The offset of the first byte after the tags that begin at `offset`; `offset` itself if no tag begins there.
    /// Bytes that claim to be a tag and to end beyond the file are no tag.
    static func end(in reader: any ByteReader, from offset: Int64 = 0, name: String) throws -> Int64 {
        let size = try reader.size
        var end = offset
        for _ in 0..<maxTags {
            let length = try reader.peek(end, 32, name: name).withUnsafeBytes { Self.length(ByteScan($0)) }
            guard length > 0, end + length < size else { return end }
            end += length
        }
        return end
    }

    /// The reader's bytes after the tags.
    static func skipped(_ reader: any ByteReader, name: String) throws -> any ByteReader {
        let end = try end(in: reader, name: name)
        return end == 0 ? reader : ReaderView(reader, from: end)
    }

    /// Bytes of the tag at the start of `scan`, or 0 if there is none.
    private static func length(_ scan: ByteScan) -> Int64 {
        if scan.has("ID3", at: 0), let parts = scan.integer(6, 4, big: true), parts & 0x8080_8080 == 0,
            let flags = scan.integer(5, 1, big: true), let version = scan.integer(3, 1, big: true), version < 0xff
        {
            // The length is four groups of seven bits. A footer of 10 bytes may follow.
            let body = (0..<4).reduce(0) { $0 << 7 | parts >> (24 - 8 * $1) & 0x7f }
            return Int64(10 + body + (version >= 4 && flags & 0x10 != 0 ? 10 : 0))
        }
        if scan.has("APETAGEX", at: 0), let body = scan.little32(12), let flags = scan.little32(20),
            flags >> 29 & 1 == 1
        {
            return Int64(32 + body)
        }
        return 0
    }
}
