import LyraBase

/// Finds the logical streams that follow one another in an Ogg file: its links (RFC 3533, section 6).
enum OggPages {
    private static let bufferLength = 1 << 15
    private static let longestHead = 27 + 255

    /// Where the next link begins: the first page that starts a stream, after pages that do not.
    ///
    /// - Parameters:
    ///   - start: The first page of a link.
    ///   - stop: Called at intervals; throws to stop the work.
    /// - Returns: nil if this link is the last.
    static func nextLink(
        in reader: any ByteReader, after start: Int64, name: String, stop: () throws -> Void
    ) throws -> Int64? {
        var buffer: [UInt8] = []
        var bufferStart = start
        var offset = start
        var hasContent = false
        while true {
            let place = Int(offset - bufferStart)
            if place + longestHead > buffer.count {
                try stop()
                buffer = try reader.peek(offset, bufferLength, name: name)
                bufferStart = offset
                guard buffer.count >= 27 else { return nil }
                if buffer.count < longestHead { buffer += [UInt8](repeating: 0, count: longestHead) }
                continue
            }
            let page = buffer.withUnsafeBytes { Self.page(ByteScan($0), at: place) }
            guard let page else {
                // Damage: the next page may begin at any byte.
                offset += 1
                if place + longestHead >= buffer.count, buffer.count < bufferLength { return nil }
                continue
            }
            if page.isFirst, hasContent { return offset }
            hasContent = hasContent || !page.isFirst
            offset += page.length
        }
    }

    private static func page(_ scan: ByteScan, at offset: Int) -> (isFirst: Bool, length: Int64)? {
        guard scan.has("OggS", at: offset), scan.integer(offset + 4, 1, big: true) == 0,
            let flags = scan.integer(offset + 5, 1, big: true), let count = scan.integer(offset + 26, 1, big: true)
        else { return nil }
        let segments = scan.section(offset + 27, count).bytes
        return (flags & 2 != 0, Int64(27 + count + segments.reduce(0) { $0 + Int($1) }))
    }
}
