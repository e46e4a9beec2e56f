import LyraBase

/// The sample tables of PCM tracks in an MP4 or MOV file.
///
/// For most tracks libavformat makes one entry for each sample. For PCM, whose samples last one tick each, one entry
/// holds up to 1,024 samples of a chunk, so a table that counts millions of samples takes little memory.
struct SoundTables {
    private static let maxBoxes = 1 << 12
    /// The smallest number of samples in an entry, except for the last entry of a chunk.
    private static let samplesPerEntry: Int64 = 512
    private static let pieceLength = 1 << 15

    private struct Box {
        let name: String
        let body: Range<Int64>
    }

    private let reader: any ByteReader
    private let name: String
    private let stop: () throws -> Void

    /// The number of entries that libavformat makes for each PCM track, by the offset of the track's name "stsz".
    ///
    /// - Parameters:
    ///   - movie: The body of "moov".
    ///   - stop: Called between pieces; throws to stop the work.
    static func entries(
        in movie: Range<Int64>, of reader: any ByteReader, name: String, stop: @escaping () throws -> Void
    ) throws -> [Int64: Int64] {
        let tables = SoundTables(reader: reader, name: name, stop: stop)
        var entries: [Int64: Int64] = [:]
        for track in try tables.boxes(in: movie) where track.name == "trak" {
            guard let (offset, count) = try tables.entries(ofTrack: track.body) else { continue }
            entries[offset] = count
        }
        return entries
    }

    private func entries(ofTrack track: Range<Int64>) throws -> (Int64, Int64)? {
        guard let media = try child("mdia", of: track), let handler = try child("hdlr", of: media),
            let info = try child("minf", of: media), let table = try child("stbl", of: info)
        else { return nil }
        let boxes = try boxes(in: table)
        guard let times = boxes.first(where: { $0.name == "stts" }),
            let sizes = boxes.first(where: { $0.name == "stsz" }),
            let chunks = boxes.first(where: { $0.name == "stsc" }),
            let places = boxes.first(where: { ["stco", "co64"].contains($0.name) }),
            try reader.peek(handler.lowerBound + 8, 4, name: name).elementsEqual("soun".utf8),
            // One entry: all samples last one tick.
            try number(times.body.lowerBound + 4) == 1, try number(times.body.lowerBound + 12) == 1,
            try isOnly(in: track), let count = try number(places.body.lowerBound + 4)
        else { return nil }
        return (sizes.body.lowerBound - 4, try entries(chunks.body, chunkCount: count))
    }

    /// Entries of all chunks. An element of the table covers a run of chunks with the same number of samples.
    private func entries(_ table: Range<Int64>, chunkCount: Int64) throws -> Int64 {
        let runs = min(try number(table.lowerBound + 4) ?? 0, (table.upperBound - table.lowerBound - 8) / 12)
        var sum: Int64 = 0
        var last: (first: Int64, entries: Int64)?
        var offset = table.lowerBound + 8
        let end = offset + runs * 12
        while offset < end {
            try stop()
            let piece = try reader.peek(offset, Int(min(Int64(Self.pieceLength / 12 * 12), end - offset)), name: name)
            guard piece.count >= 12 else { break }
            piece.withUnsafeBytes { raw in
                let scan = ByteScan(raw)
                for place in stride(from: 0, through: raw.count - 12, by: 12) {
                    let first = Int64(scan.big32(place) ?? 0), samples = Int64(scan.big32(place + 4) ?? 0)
                    if let last { sum = Self.sum(sum, last.entries, times: first - last.first) }
                    last = (first, (samples + Self.samplesPerEntry - 1) / Self.samplesPerEntry)
                }
            }
            offset += Int64(piece.count / 12 * 12)
        }
        return last.map { Self.sum(sum, $0.entries, times: chunkCount - $0.first + 1) } ?? sum
    }

    private static func sum(_ sum: Int64, _ entries: Int64, times count: Int64) -> Int64 {
        // Chunk numbers must ascend: libavformat subtracts them as unsigned numbers.
        guard count >= 0 else { return .max / 2 }
        guard let product = entries.checkedMultiplying(by: count) else { return .max / 2 }
        return min(sum + min(product, .max / 4), .max / 2)
    }

    /// Whether the track has each table once and no video handler. libavformat uses the last table that it finds, and
    /// accepts tables in more places than the standard allows.
    private func isOnly(in track: Range<Int64>) throws -> Bool {
        let names = ["stts", "stsz", "stsc", "stco", "co64", "stz2", "trak", "vide"]
        let codes = names.map { $0.utf8.reduce(0) { $0 << 8 | Int($1) } }
        var counts = [Int](repeating: 0, count: names.count)
        var offset = track.lowerBound
        while offset < track.upperBound {
            try stop()
            let count = min(Int64(Self.pieceLength), track.upperBound - offset)
            let piece = try reader.peek(offset, Int(count), name: name)
            guard piece.count > 3 else { break }
            piece.withUnsafeBytes { raw in
                let scan = ByteScan(raw)
                for place in 0..<raw.count - 3 where [0x73, 0x63, 0x74, 0x76].contains(raw[place]) {
                    let code = scan.big32(place)
                    for index in codes.indices where codes[index] == code { counts[index] += 1 }
                }
            }
            // A name across the end of this piece is counted in the next piece.
            offset += Int64(piece.count - 3)
        }
        // One of each of the first three, one of the two lists of places, and nothing else.
        return counts[..<3] == [1, 1, 1] && counts[3] + counts[4] == 1 && counts[5...] == [0, 0, 0]
    }

    private func child(_ wanted: String, of body: Range<Int64>) throws -> Range<Int64>? {
        try boxes(in: body).first { $0.name == wanted }?.body
    }

    private func boxes(in body: Range<Int64>) throws -> [Box] {
        var boxes: [Box] = []
        var offset = body.lowerBound
        while boxes.count < Self.maxBoxes, body.upperBound - offset >= 8 {
            try stop()
            let head = try reader.peek(offset, 16, name: name)
            guard head.count >= 8, let (length, skipped) = head.withUnsafeBytes({ Self.length(ByteScan($0)) }),
                length >= skipped, length <= body.upperBound - offset
            else { break }
            boxes.append(
                Box(name: String(decoding: head[4..<8], as: UTF8.self), body: offset + skipped..<offset + length))
            offset += length
        }
        return boxes
    }

    /// The size of a box, and of the header in front of its body.
    private static func length(_ scan: ByteScan) -> (Int64, Int64)? {
        guard let short = scan.big32(0) else { return nil }
        guard short == 1 else { return (Int64(short), 8) }
        guard let high = scan.big32(8), let low = scan.big32(12), high < 1 << 30 else { return nil }
        return (Int64(high) << 32 | Int64(low), 16)
    }

    private func number(_ offset: Int64) throws -> Int64? {
        try reader.peek(offset, 4, name: name).withUnsafeBytes { ByteScan($0).big32(0) }.map { Int64($0) }
    }
}
