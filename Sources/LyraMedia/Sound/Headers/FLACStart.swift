import LyraBase

/// Finds the FLAC files inside a joined file.
enum FLACStart {
    private static let bufferLength = 1 << 15
    /// Bytes of the signature of every FLAC file: "fLaC", and the header of a STREAMINFO block of 34 bytes.
    private static let signatureLength = 8

    /// Where the next FLAC file at or after an offset begins; nil if there is none.
    static func next(in reader: any ByteReader, from start: Int64, name: String) throws -> Int64? {
        var offset = start
        while true {
            try Interruption.check()
            let buffer = try reader.peek(offset, bufferLength, name: name)
            guard buffer.count >= signatureLength else { return nil }
            let place = buffer.withUnsafeBytes { raw in
                let scan = ByteScan(raw)
                return (0...raw.count - signatureLength).first {
                    raw[$0] == UInt8(ascii: "f") && hasSignature(scan, at: $0)
                }
            }
            if let place { return offset + Int64(place) }
            offset += Int64(buffer.count - signatureLength + 1)
        }
    }

    private static func hasSignature(_ scan: ByteScan, at place: Int) -> Bool {
        // The first bit of the block's header tells whether the block is the last.
        scan.has("fLaC", at: place) && scan.big32(place + 4).map { $0 & 0x7fff_ffff } == 34
    }
}
