/// Knows MPEG audio by its first bytes, also if it does not begin with a frame.
///
/// A recording cut out of a stream starts in the middle of a frame. The header is that of ISO/IEC 11172-3 and 13818-3,
/// layer III.
enum MP3Sync {
    /// How far frames are looked for: some dozens of the largest.
    static let searchLength = 1 << 16
    /// Frames in a row that must fit together before bytes are taken for MP3: by chance that happens once in 2^60.
    private static let framesInARow = 4
    private static let headerLength = 4

    /// Whether a file is MPEG audio, or anything else that libsndfile would hand to an MPEG decoder.
    static func isMPEG(_ reader: any ByteReader, name: String) throws -> Bool {
        var bytes = try read(reader, from: 0, name: name)
        // Tags of ID3v2: ten bytes, of which the last four are the length of the rest in 7 bits each.
        var start: Int64 = 0
        for _ in 0..<mostTags where bytes.starts(with: "ID3".utf8) && bytes.count >= 10 {
            start += 10 + bytes[6..<10].reduce(0) { $0 << 7 | Int64($1 & 0x7f) }
            bytes = try read(reader, from: start, name: name)
        }
        if bytes.starts(with: "RIFF".utf8) {
            // The format chunk usually comes first, and says MP3.
            return bytes.count >= 22 && bytes[20] == 0x55 && bytes[21] == 0
        }
        if bytes.dropFirst(4).starts(with: "ftyp".utf8) { return false }
        return hasHeader(bytes) || firstFrame(in: bytes) != nil
    }

    /// Tags that are skipped at the beginning.
    private static let mostTags = 8

    private static func read(_ reader: any ByteReader, from offset: Int64, name: String) throws -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: searchLength)
        let count = try bytes.withUnsafeMutableBytes { try reader.fill($0, from: offset, name: name) }
        return Array(bytes[..<count])
    }

    /// Whether the bytes begin with the header of any layer: version and layer, bit rate and sample rate are possible ones.
    private static func hasHeader(_ bytes: [UInt8]) -> Bool {
        bytes.count >= headerLength && bytes[0] == 0xff && bytes[1] & 0xe0 == 0xe0 && bytes[1] & 0x18 != 0x08
            && bytes[1] & 0x06 != 0 && bytes[2] & 0xf0 != 0xf0 && bytes[2] & 0x0c != 0x0c
    }

    /// The offset of the first of several frames in a row, or nil if there is none.
    static func firstFrame(in bytes: [UInt8]) -> Int? {
        guard bytes.count >= headerLength else { return nil }
        for start in 0...bytes.count - headerLength where bytes[start] == 0xff {
            if isRunOfFrames(bytes, from: start) { return start }
        }
        return nil
    }

    private static func isRunOfFrames(_ bytes: [UInt8], from start: Int) -> Bool {
        var offset = start
        var kind: UInt32?
        for _ in 0..<framesInARow {
            guard offset <= bytes.count - headerLength else { return false }
            let header = bytes[offset..<offset + headerLength].reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
            guard let length = frameLength(header) else { return false }
            // Sync word, version, layer and sample rate stay; the bit rate may change.
            let fixed = header & 0xfffe_0c00
            guard kind == nil || kind == fixed else { return false }
            kind = fixed
            offset += length
        }
        return true
    }

    /// Bytes from a frame's header to the next, or nil if this is no layer III header (or one of "free" bit rate).
    private static func frameLength(_ header: UInt32) -> Int? {
        guard header >> 21 == 0x7ff, header >> 17 & 3 == 1 else { return nil }
        let version = Int(header >> 19 & 3)
        let rateIndex = Int(header >> 10 & 3)
        let bitRateIndex = Int(header >> 12 & 15)
        guard version != 1, rateIndex != 3, bitRateIndex != 0, bitRateIndex != 15 else { return nil }
        let isVersion1 = version == 3
        let sampleRate = [44_100, 48_000, 32_000][rateIndex] / (isVersion1 ? 1 : version == 2 ? 2 : 4)
        let kilobits = (isVersion1 ? bitRates1 : bitRates2)[bitRateIndex - 1]
        return (isVersion1 ? 144 : 72) * kilobits * 1000 / sampleRate + Int(header >> 9 & 1)
    }

    /// kbit/s of MPEG-1, and of MPEG-2 and 2.5, by the header's index less 1.
    private static let bitRates1 = [32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320]
    private static let bitRates2 = [8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160]
}
