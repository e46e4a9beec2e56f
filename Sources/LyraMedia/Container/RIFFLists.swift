import LyraBase

/// Checks a WAV or AVI file, before libavformat reads it, for text lists that claim to be longer than the file.
///
/// libavformat allocates and clears memory for a text in a "LIST" of type "INFO" before it reads the text: a file of a
/// few hundred bytes could take gigabytes. libavformat itself refuses a text that is longer than its list.
enum RIFFLists {
    private static let pieceLength = 1 << 15
    private static let headLength = 12

    private enum ByteOrder { case little, big, either }

    /// Does nothing if the file is neither WAV nor AVI.
    ///
    /// - Parameter stop: Called at intervals; throws to stop the work.
    /// - Throws: `LyraError(.memory)` if a list claims too much, `.io`.
    static func check(_ reader: any ByteReader, name: String, stop: () throws -> Void) throws {
        let size = try reader.checkedSize(name: name)
        var piece = [UInt8](repeating: 0, count: pieceLength + headLength)
        func read(from offset: Int64) throws -> Int {
            try piece.withUnsafeMutableBytes { try reader.fill($0, from: offset, name: name) }
        }
        var count = try read(from: 0)
        guard let order = piece.withUnsafeBytes({ Self.order($0) }) else { return }
        var offset: Int64 = 0
        while count > headLength {
            let claimed = piece.withUnsafeBytes { raw in
                longest(in: UnsafeRawBufferPointer(rebasing: raw[..<count]), room: size - offset, order: order)
            }
            if let claimed {
                throw LyraError(
                    .memory,
                    "\(name): a text list of \(claimed) bytes in a file of \(size) bytes; the file is damaged or "
                        + "malicious")
            }
            try stop()
            offset += Int64(pieceLength)
            count = try read(from: offset)
        }
    }

    /// The byte order of the file; nil if the file is neither WAV nor AVI. libavformat skips an ID3 tag in front.
    private static func order(_ bytes: UnsafeRawBufferPointer) -> ByteOrder? {
        let scan = ByteScan(bytes)
        if scan.has("RIFX", at: 0) { return .big }
        if scan.has("ID3", at: 0) { return .either }
        return ["RIFF", "RF64", "BW64", "ON2 "].contains { scan.has($0, at: 0) } ? .little : nil
    }

    /// The length of a list that begins in the piece and ends beyond the file, or nil.
    ///
    /// - Parameter room: Bytes from the start of the piece to the end of the file.
    private static func longest(in bytes: UnsafeRawBufferPointer, room: Int64, order: ByteOrder) -> Int? {
        let scan = ByteScan(bytes)
        for offset in 0..<min(pieceLength, bytes.count - headLength + 1) where bytes[offset] == UInt8(ascii: "L") {
            guard scan.has("LIST", at: offset), scan.has("INFO", at: offset + 8) else { continue }
            let little = scan.little32(offset + 4) ?? 0
            let big = scan.big32(offset + 4) ?? 0
            let length =
                switch order {
                case .little: little
                case .big: big
                case .either: max(little, big)
                }
            if Int64(length) > room - Int64(offset) - 8 { return length }
        }
        return nil
    }
}
