import LyraBase

/// Repairs wrong sizes in the headers of WAV, RF64, Wave64, AIFF, AU and CAF, for decoders that rely on them.
///
/// A recorder that crashed, or wrote to a pipe, leaves sizes of 0, of all ones, or too large ones. (EBU Tech 3306
/// for RF64; Apple's "Audio Interchange File Format" and "Core Audio Format Specification"; Sony's Wave64.)
struct SoundHeader {
    /// RIFF's sizes have 32 bits.
    private static let largest: Int64 = 0xffff_ffff

    let reader: any ByteReader
    let name: String
    /// Bytes of the file.
    let size: Int64

    /// A reader of the file with correct sizes; `reader` itself if the sizes are correct.
    static func repaired(_ reader: any ByteReader, name: String) throws -> any ByteReader {
        let header = SoundHeader(reader: reader, name: name, size: try reader.checkedSize(name: name))
        let mark = try reader.peek(0, 12, name: name)
        if mark.starts(with: "RIFF".utf8) { return try header.wave(.little) }
        if mark.starts(with: "RIFX".utf8) { return try header.wave(.big) }
        if mark.starts(with: "RF64".utf8) || mark.starts(with: "BW64".utf8) { return try header.longWave() }
        if mark.starts(with: "riff".utf8) { return try header.wave64() }
        if mark.starts(with: "FORM".utf8) { return mark[8...].starts(with: "AIF".utf8) ? try header.aiff() : reader }
        if mark.starts(with: ".snd".utf8) { return try header.au(isBigEndian: true) }
        if mark.starts(with: "dns.".utf8) { return try header.au(isBigEndian: false) }
        return mark.starts(with: "caff".utf8) ? try header.caf() : reader
    }

    /// Whether a WAV file holds MPEG audio.
    static func isMPEG(_ reader: any ByteReader, name: String) throws -> Bool {
        let header = SoundHeader(reader: reader, name: name, size: try reader.checkedSize(name: name))
        let isBig = try reader.peek(0, 4, name: name).elementsEqual("RIFX".utf8)
        guard let format = try header.chunks(isBig ? .big : .little).chunks(from: 12, to: "fmt ")?.last else {
            return false
        }
        let tag = try reader.peek(format.start, 2, name: name)
        return [[0x50, 0], [0x55, 0]].contains(isBig ? tag.reversed() : tag)
    }

    private func chunks(_ layout: ChunkList.Layout) -> ChunkList {
        ChunkList(reader: reader, name: name, layout: layout, size: size)
    }

    private func patch(_ offset: Int64, _ bytes: [UInt8]) -> ReaderView.Patch { .init(offset: offset, bytes: bytes) }

    // MARK: - WAV

    private func wave(_ layout: ChunkList.Layout) throws -> any ByteReader {
        let list = chunks(layout)
        guard let chunks = try list.chunks(from: 12, to: "data"), let data = chunks.last else { return reader }
        let count = try list.sampleBytes(from: data.start, stated: data.size)
        // A size of 0 is patched even if there are no samples: libsndfile, too, takes 0 for a placeholder.
        guard count != data.size || count == 0 else { return reader }
        let whole = data.start + count - 8
        if whole < Self.largest {
            let total = count == 0 ? min(size - 8, Self.largest) : whole
            return ReaderView(
                reader, patches: [patch(4, layout.bytes(total)), patch(data.sizeOffset, layout.bytes(count))])
        }
        return try long(chunks, data: data, count: count, isBigEndian: layout.isBigEndian)
    }

    /// RF64 and BW64: a chunk "ds64" holds the 64-bit sizes.
    private func longWave() throws -> any ByteReader {
        let list = chunks(.little)
        let first = try list.chunk(at: 12)
        let sizes = try first.flatMap { $0.isNamed("ds64") ? try reader.peek($0.start + 8, 8, name: name) : nil }
        // The size of "data" is in "ds64" if its own field is 0 or all ones.
        guard let chunks = try list.chunks(from: 12, to: "data"), let data = chunks.last else { return reader }
        var stated = data.size
        if stated == Self.largest || stated == 0 {
            stated = Int64(clamping: (sizes ?? []).reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) })
        }
        let long = ChunkList(
            reader: reader, name: name,
            layout: .init(head: 8, sizeBytes: 4, isBigEndian: false, alignment: 2, countsHead: false), size: size)
        let count = try long.sampleBytes(from: data.start, stated: stated)
        if count == stated, sizes?.count == 8 { return reader }
        return try self.long(chunks, data: data, count: count, isBigEndian: false)
    }

    /// The file with a header of a format that has 64-bit sizes (Wave64) or needs none (AU), for samples over 4 GiB.
    private func long(
        _ chunks: [ChunkList.Chunk], data: ChunkList.Chunk, count: Int64, isBigEndian: Bool
    ) throws -> any ByteReader {
        guard let format = chunks.first(where: { $0.isNamed("fmt ") }), format.size >= 14, format.size <= 1 << 12 else {
            return reader
        }
        let bytes = try reader.peek(format.start, Int(format.size), name: name)
        let head: [UInt8]?
        if isBigEndian {
            head = bytes.withUnsafeBytes { raw in
                let scan = ByteScan(raw)
                let coding: LongHeader.Coding? =
                    switch (scan.big16(0), scan.big16(14)) {
                    case (1, 16), (1, 24), (1, 32): .integer
                    case (3, 32), (3, 64): .float
                    case (6, _): .aLaw
                    case (7, _): .muLaw
                    default: nil
                    }
                guard let coding, let bits = scan.big16(14) else { return nil }
                return LongHeader.au(coding, bits: bits, rate: scan.big32(4) ?? 0, channels: scan.big16(2) ?? 0)
            }
        } else {
            head = LongHeader.wave64(format: bytes, count: count)
        }
        return head.map { ReaderView(reader, head: $0, from: data.start, to: data.start + count) } ?? reader
    }

    private func wave64() throws -> any ByteReader {
        let list = chunks(.wave64)
        guard let data = try list.chunks(from: 40, to: "data")?.last else { return reader }
        let count = try list.sampleBytes(from: data.start, stated: data.size)
        guard count != data.size else { return reader }
        return ReaderView(
            reader,
            patches: [
                patch(16, list.layout.bytes(data.start + count)), patch(data.sizeOffset, list.layout.bytes(count + 24)),
            ])
    }

    // MARK: - AIFF, CAF and AU

    private func aiff() throws -> any ByteReader {
        let list = chunks(.big)
        guard let chunks = try list.chunks(from: 12, to: "SSND"), let sound = chunks.last else { return reader }
        let description = chunks.first { $0.isNamed("COMM") }
        let place = try reader.peek(sound.start, 4, name: name).reduce(0) { $0 << 8 | Int64($1) }
        let start = sound.start + 8 + place
        guard start <= size else { return reader }
        var count = max(sound.size - 8 - place, 0)
        let isEmpty = try sound.size < 8 && list.isMadeOfChunks(from: sound.start)
        if !isEmpty { count = try list.sampleBytes(from: start, stated: count) }
        let frames = try description.map { try reader.peek($0.start + 2, 4, name: name) }
        let isCounted = frames.map { $0.contains { $0 != 0 } } ?? true
        guard count != sound.size - 8 - place || !isCounted && count > 0 else { return reader }
        let whole = start + count - 8
        if whole >= Self.largest {
            guard let description, let head = try longAIFF(description, count: count) else { return reader }
            return ReaderView(reader, head: head, from: start, to: start + count)
        }
        guard !isEmpty else { return reader }
        var patches = [
            patch(4, list.layout.bytes(whole)), patch(sound.sizeOffset, list.layout.bytes(count + 8 + place)),
        ]
        // Set the frame count to its maximum: libsndfile then computes it from the samples.
        if let description { patches.append(patch(description.start + 2, [0xff, 0xff, 0xff, 0xff])) }
        return ReaderView(reader, patches: patches)
    }

    private func longAIFF(_ description: ChunkList.Chunk, count: Int64) throws -> [UInt8]? {
        try reader.peek(description.start, 22, name: name).withUnsafeBytes { raw in
            let scan = ByteScan(raw)
            guard let channels = scan.big16(0), let bits = scan.big16(6), let rate = Self.extended(scan.section(8, 10))
            else {
                return nil
            }
            let whole = (bits + 7) / 8 * 8
            let kind = description.size >= 22 ? String(decoding: scan.section(18, 4).bytes, as: UTF8.self) : "NONE"
            switch kind {
            case "NONE", "twos", "in24", "in32":
                return LongHeader.au(.integer, bits: whole, rate: rate, channels: channels)
            case "fl32", "FL32": return LongHeader.au(.float, bits: 32, rate: rate, channels: channels)
            case "fl64", "FL64": return LongHeader.au(.float, bits: 64, rate: rate, channels: channels)
            case "ulaw", "ULAW": return LongHeader.au(.muLaw, bits: 8, rate: rate, channels: channels)
            case "alaw", "ALAW": return LongHeader.au(.aLaw, bits: 8, rate: rate, channels: channels)
            case "sowt" where whole > 8:
                return LongHeader.wave64(
                    format: LongHeader.format(bits: whole, rate: rate, channels: channels), count: count)
            default: return nil
            }
        }
    }

    /// A float of 80 bits (IEEE 754's double-extended format), in Hz.
    private static func extended(_ scan: ByteScan) -> Int? {
        guard let exponent = scan.big16(0), let mantissa = scan.big32(2), (0x3fff...0x401d).contains(exponent) else {
            return nil
        }
        return mantissa >> (0x401e - exponent)
    }

    private func caf() throws -> any ByteReader {
        let list = chunks(.caf)
        guard let data = try list.chunks(from: 8, to: "data")?.last else { return reader }
        // The body begins with an edit count of 4 bytes.
        let stated = data.size == .max ? .max : max(data.size - 4, 0)
        if data.size < 4, try list.isMadeOfChunks(from: data.start + data.size) { return reader }
        let count = try list.sampleBytes(from: data.start + 4, stated: stated)
        guard count != data.size - 4 else { return reader }
        return ReaderView(reader, patches: [patch(data.sizeOffset, list.layout.bytes(count + 4))])
    }

    private func au(isBigEndian: Bool) throws -> any ByteReader {
        let layout: ChunkList.Layout = isBigEndian ? .big : .little
        let fields = try reader.peek(4, 8, name: name).withUnsafeBytes { raw in
            let scan = ByteScan(raw)
            return (scan.integer(0, 4, big: isBigEndian), scan.integer(4, 4, big: isBigEndian))
        }
        guard let start = fields.0, let stated = fields.1, Int64(start) < size else { return reader }
        let count = try chunks(layout).sampleBytes(from: Int64(start), stated: Int64(stated), isBare: true)
        // libsndfile reads AU sizes with 31 bits. With an unknown size, it reads to the end of the view.
        guard count != stated || count > Int64(Int32.max) else { return reader }
        return ReaderView(
            reader, to: Int64(start) + count, patches: [patch(8, [0xff, 0xff, 0xff, 0xff])])
    }
}
