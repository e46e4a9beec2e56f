import LyraBase

/// Finds FLAC files that were joined to another.
enum FLACStart {
    private static let bufferLength = 1 << 15
    /// Bytes of what every file begins with: "fLaC", and the head of a block that describes the stream, of 34 bytes.
    private static let markLength = 8

    /// Where the next FLAC file begins at or behind an offset; nil if none does.
    static func next(in reader: any ByteReader, from start: Int64, name: String) throws -> Int64? {
        var offset = start
        while true {
            try Interruption.check()
            let buffer = try reader.peek(offset, bufferLength, name: name)
            guard buffer.count >= markLength else { return nil }
            let place = buffer.withUnsafeBytes { raw in
                let scan = ByteScan(raw)
                return (0...raw.count - markLength).first { raw[$0] == UInt8(ascii: "f") && isMark(scan, at: $0) }
            }
            if let place { return offset + Int64(place) }
            offset += Int64(buffer.count - markLength + 1)
        }
    }

    private static func isMark(_ scan: ByteScan, at place: Int) -> Bool {
        // The first bit of the block's head says whether it is the only one.
        scan.has("fLaC", at: place) && scan.big32(place + 4).map { $0 & 0x7fff_ffff } == 34
    }
}
