import LyraBase

/// Looks through a WAV or AVI file, before libavformat reads it, for lists of texts that claim to be longer than the
/// file.
///
/// libavformat takes memory for a text in a "LIST" of kind "INFO", and clears it, before it reads the text: a file of
/// some hundred bytes would become gigabytes. A text is refused there if it is longer than its list.
enum RIFFLists {
    private static let pieceLength = 1 << 15
    private static let headLength = 12

    private enum ByteOrder { case little, big, either }

    /// Does nothing if the file is neither WAV nor AVI.
    /// - Parameter stop: Called now and then; it throws if the caller wants to stop.
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
                    "\(name): a list of texts of \(claimed) bytes in a file of \(size) bytes; it is damaged or made "
                        + "to harm"
                )
            }
            try stop()
            offset += Int64(pieceLength)
            count = try read(from: offset)
        }
    }

    /// nil if it is no such file. libavformat passes over an ID3 tag in front of one.
    private static func order(_ bytes: UnsafeRawBufferPointer) -> ByteOrder? {
        let scan = ByteScan(bytes)
        if scan.has("RIFX", at: 0) { return .big }
        if scan.has("ID3", at: 0) { return .either }
        return ["RIFF", "RF64", "BW64", "ON2 "].contains { scan.has($0, at: 0) } ? .little : nil
    }

    /// The length of a list that begins in the piece and ends beyond the file, or nil.
    /// - Parameter room: Bytes of the file from the start of the piece on.
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
