/// Finds where the frames of an MP3 begin that does not begin with one.
///
/// A recording cut out of a stream starts in the middle of a frame. libsndfile knows a file by its first bytes, and would
/// not know this one for an MP3. The header is that of ISO/IEC 11172-3 and 13818-3, layer III.
enum MP3Sync {
    /// How far frames are looked for: some dozens of the largest.
    static let searchLength = 1 << 16
    /// Frames in a row that must fit together before bytes are taken for MP3: by chance that happens once in 2^60.
    private static let framesInARow = 4
    private static let headerLength = 4

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
