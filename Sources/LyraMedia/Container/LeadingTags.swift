import LyraBase

/// Tags in front of what a file is: ID3v2 and APEv2. What lies in them, a picture above all, may look like anything.
enum LeadingTags {
    /// More than this in a row are no tags.
    private static let most = 64

    /// The offset of the first byte after the tags that begin at `offset`; `offset` itself if no tag begins there.
    /// Bytes that claim to be a tag and to end beyond the file are no tag.
    static func end(in reader: any ByteReader, from offset: Int64 = 0, name: String) throws -> Int64 {
        let size = try reader.size
        var end = offset
        for _ in 0..<most {
            let length = try reader.peek(end, 32, name: name).withUnsafeBytes { Self.length(ByteScan($0)) }
            guard length > 0, end + length < size else { return end }
            end += length
        }
        return end
    }

    /// The reader's bytes behind its tags.
    static func skipped(_ reader: any ByteReader, name: String) throws -> any ByteReader {
        let end = try end(in: reader, name: name)
        return end == 0 ? reader : ReaderView(reader, from: end)
    }

    /// Bytes of the tag that begins here, or 0.
    private static func length(_ scan: ByteScan) -> Int64 {
        if scan.has("ID3", at: 0), let parts = scan.integer(6, 4, big: true), parts & 0x8080_8080 == 0,
            let flags = scan.integer(5, 1, big: true), let version = scan.integer(3, 1, big: true), version < 0xff
        {
            // The length is four times seven bits; a footer repeats the header.
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
