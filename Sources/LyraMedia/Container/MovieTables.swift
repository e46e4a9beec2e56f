import LyraBase

/// Checks an MP4 or MOV file, before libavformat reads it, for tables that claim more samples than the file can hold.
///
/// If all samples have one size ("stsz") or default fields ("trun"), a table of a few bytes can claim any number of
/// samples. libavformat allocates an entry for each, so kilobytes would become gigabytes. (ISO/IEC 14496-12, 8.7.3 and
/// 8.8.8.)
struct MovieTables {
    /// A file may claim as many samples as it has bytes, and this many in any case.
    private static let allowance: Int64 = 1 << 20
    /// The most samples of any file: libavformat takes 24 bytes for each.
    private static let maxSamples: Int64 = 1 << 25
    private static let maxBoxes = 1 << 20
    private static let pieceLength = 1 << 15
    /// Bytes of a table's box that are read, from the box's name on.
    private static let tableLength = 16

    private let reader: any ByteReader
    private let name: String
    private let size: Int64
    private let stop: () throws -> Void
    private var claimed: Int64 = 0
    /// Entries that libavformat makes for the tables of PCM tracks (see `SoundTables`), by the offsets of the tables.
    private var soundEntries: [Int64: Int64] = [:]

    /// Does nothing if the file is not an MP4 or MOV.
    ///
    /// - Parameter stop: Called at intervals; throws to stop the work.
    /// - Throws: `LyraError(.memory)` if the tables claim too many samples, `.format` if there are too many boxes,
    ///   `.io`.
    static func check(_ reader: any ByteReader, name: String, stop: @escaping () throws -> Void) throws {
        var tables = MovieTables(reader: reader, name: name, size: try reader.checkedSize(name: name), stop: stop)
        try tables.check()
    }

    private init(reader: any ByteReader, name: String, size: Int64, stop: @escaping () throws -> Void) {
        (self.reader, self.name, self.size, self.stop) = (reader, name, size, stop)
    }

    private mutating func check() throws {
        var offset: Int64 = 0
        for box in 0..<Self.maxBoxes {
            let head = try bytes(from: offset, count: 16)
            let isFirst = head.withUnsafeBytes { raw in
                let scan = ByteScan(raw)
                return ["ftyp", "moov", "mdat", "free", "skip", "wide", "pnot", "moof", "styp"].contains {
                    scan.has($0, at: 4)
                }
            }
            guard head.count >= 8, box > 0 || isFirst else { return }
            let (length, isMedia, isMovie) = head.withUnsafeBytes { raw in
                let scan = ByteScan(raw)
                var length = Int64(scan.big32(0) ?? 0)
                // 1: the length follows, in 64 bits; 0: to the end of the file.
                if length == 1 {
                    length = Int64(scan.big32(8) ?? 0) << 32 | Int64(scan.big32(12) ?? 0)
                } else if length == 0 {
                    length = size
                }
                return (length, scan.has("mdat", at: 4), scan.has("moov", at: 4))
            }
            guard length >= 8 else { return }
            let end = min(offset.checkedAdding(length) ?? size, size)
            if isMovie, end - offset > 8 {
                soundEntries = try SoundTables.entries(in: offset + 8..<end, of: reader, name: name, stop: stop)
            }
            if !isMedia { try search(offset..<end) }
            offset = end
        }
        throw LyraError(.format, "\(name): more than \(Self.maxBoxes) boxes")
    }

    private func bytes(from offset: Int64, count: Int) throws -> [UInt8] {
        guard offset < size else { return [] }
        var bytes = [UInt8](repeating: 0, count: count)
        let filled = try bytes.withUnsafeMutableBytes { try reader.fill($0, from: offset, name: name) }
        return Array(bytes[..<filled])
    }

    /// Finds tables anywhere in the range: libavformat accepts them in more places than the standard allows.
    private mutating func search(_ range: Range<Int64>) throws {
        var offset = range.lowerBound
        while offset < range.upperBound {
            try stop()
            let count = min(Int64(Self.pieceLength + Self.tableLength), range.upperBound - offset)
            let piece = try bytes(from: offset, count: Int(count))
            guard !piece.isEmpty else { return }
            claimed = min(claimed + piece.withUnsafeBytes { samples(claimedIn: $0, at: offset) }, .max / 4)
            guard claimed <= min(max(size, Self.allowance), Self.maxSamples) else {
                throw LyraError(
                    .memory,
                    "\(name): its tables claim \(claimed) samples in a file of \(size) bytes; the file is damaged or "
                        + "malicious")
            }
            offset += Int64(Self.pieceLength)
        }
    }

    /// - Parameter start: Where the bytes lie in the file.
    private func samples(claimedIn bytes: UnsafeRawBufferPointer, at start: Int64) -> Int64 {
        let scan = ByteScan(bytes)
        var sum: Int64 = 0
        for offset in 0..<max(0, min(Self.pieceLength, bytes.count - Self.tableLength + 1)) {
            let first = bytes[offset]
            guard first == 0x73 || first == 0x74 else { continue }
            if scan.has("stsz", at: offset) {
                // Only a table with one size for all samples claims more than it stores.
                if let entries = soundEntries[start + Int64(offset)] {
                    sum = min(sum + entries, .max / 4)
                } else if scan.big32(offset + 8) != 0 {
                    sum += Int64(scan.big32(offset + 12) ?? 0)
                }
            } else if scan.has("trun", at: offset) {
                sum += Int64(scan.big32(offset + 8) ?? 0)
            }
        }
        return sum
    }
}
