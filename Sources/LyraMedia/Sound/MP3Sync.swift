import LyraBase

/// Finds MPEG audio by its frame headers (ISO/IEC 11172-3 and 13818-3), even if a file does not begin with a frame.
///
/// A recording that was cut out of a stream begins inside a frame.
enum MP3Sync {
    /// Bytes that are searched for frames: dozens of the largest frames.
    static let searchLength = 1 << 16
    /// Consistent frames in a row that identify MP3. Random bytes match with a probability of 2^-60.
    private static let framesInARow = 4
    private static let headerLength = 4

    /// Whether a file is MPEG audio, or anything else that libsndfile would pass to an MPEG decoder.
    ///
    /// - Parameter reader: Its bytes begin after the tags.
    static func isMPEG(_ reader: any ByteReader, name: String) throws -> Bool {
        switch try MediaFormat(reader, name: name) {
        case .mpegAudio, .mpegWave: true
        case .unknown:
            try {
                let bytes = try reader.piece(0, searchLength, name: name)
                defer { withExtendedLifetime(bytes) {} }
                return firstFrame(in: UnsafeRawBufferPointer(bytes.elements)) != nil
            }()
        default: false
        }
    }

    /// Whether the bytes begin with a frame header of any layer, with valid version, layer, bit rate and sample rate.
    static func hasHeader(_ bytes: [UInt8]) -> Bool {
        bytes.count >= headerLength && bytes[0] == 0xff && bytes[1] & 0xe0 == 0xe0 && bytes[1] & 0x18 != 0x08
            && bytes[1] & 0x06 != 0 && bytes[2] & 0xf0 != 0xf0 && bytes[2] & 0x0c != 0x0c
    }

    /// The offset of the first of several frames in a row, or nil if there is none.
    static func firstFrame(in bytes: UnsafeRawBufferPointer) -> Int? {
        bytes.indices.first { bytes[$0] == 0xff && frames(in: ByteScan(bytes), from: $0).count == framesInARow }
    }

    // MARK: - Joined files

    /// Where the next frames begin after an MP3 and its tags, or nil if none follow.
    ///
    /// Directly after the MP3 or a tag, two consistent frames are enough; after other bytes, `framesInARow` are
    /// required.
    ///
    /// - Parameter stop: Called at intervals; throws to stop the work.
    static func nextStream(
        in reader: any ByteReader, from start: Int64, name: String, stop: () throws -> Void
    ) throws -> Int64? {
        var offset = start
        var isExact = true
        while true {
            try stop()
            let bytes = try reader.piece(offset, searchLength, name: name)
            guard bytes.count >= headerLength else { return nil }
            let isLast = bytes.count < searchLength
            let found = withExtendedLifetime(bytes) {
                place(in: ByteScan(UnsafeRawBufferPointer(bytes.elements)), isExact: isExact, isLast: isLast)
            }
            switch found {
            case .frames(let place): return offset + Int64(place)
            case .tag(let place):
                offset += Int64(place)
                let end = try tagsEnd(in: reader, from: offset, name: name)
                isExact = end > offset
                offset = max(end, offset + 1)
            case .nothing(let searched):
                guard !isLast else { return nil }
                isExact = false
                offset += Int64(searched)
            }
        }
    }

    private enum Place { case frames(Int), tag(Int), nothing(Int) }

    /// The first frames, or the first tag, in the bytes. The last 12,000 bytes are left for the next piece.
    private static func place(in scan: ByteScan, isExact: Bool, isLast: Bool) -> Place {
        // Four of the longest frames, of 2,880 bytes.
        let searched = isLast ? scan.bytes.count : scan.bytes.count - 12_000
        for place in 0..<searched {
            switch scan.bytes[place] {
            case 0xff:
                let (count, isWhole) = frames(in: scan, from: place)
                let isEnough = count == framesInARow || isWhole && isLast && count >= 2
                if place == 0 && isExact ? isWhole && count >= 2 : isEnough { return .frames(place) }
            case UInt8(ascii: "I"), UInt8(ascii: "T"), UInt8(ascii: "A"):
                let isTag = scan.has("ID3", at: place) || scan.has("APETAGEX", at: place)
                if isTag || place == 0 && isExact && scan.has("TAG", at: place) { return .tag(place) }
            default: break
            }
        }
        return .nothing(searched)
    }

    /// The offset after the tags that begin at `offset`, including ID3v1 tags of 128 bytes.
    private static func tagsEnd(in reader: any ByteReader, from offset: Int64, name: String) throws -> Int64 {
        var end = offset
        while true {
            let start = end
            if try reader.peek(end, 3, name: name).elementsEqual("TAG".utf8) { end += 128 }
            end = try LeadingTags.end(in: reader, from: end, name: name)
            if end == start { return end }
        }
    }

    // MARK: - Frames

    /// The number of consistent frames from `start` on, at most `framesInARow`. `isWhole`: whether the frames reach
    /// that maximum, or end at a tag or at the end of the bytes.
    private static func frames(in scan: ByteScan, from start: Int) -> (count: Int, isWhole: Bool) {
        var offset = start
        var kind: Int?
        for count in 0..<framesInARow {
            guard let header = scan.big32(offset) else { return (count, true) }
            if ["ID3", "TAG", "APE"].contains(where: { scan.has($0, at: offset) }) { return (count, true) }
            guard let length = frameLength(header) else { return (count, false) }
            // Sync word, version, layer and sample rate stay; the bit rate may change.
            let fixed = header & 0xfffe_0c00
            guard kind == nil || kind == fixed else { return (count, false) }
            kind = fixed
            offset += length
        }
        return (framesInARow, true)
    }

    /// The bytes of a frame; nil if the header is invalid or has a "free" bit rate.
    private static func frameLength(_ header: Int) -> Int? {
        let version = header >> 19 & 3
        let layer = 4 - (header >> 17 & 3)
        let rateIndex = header >> 10 & 3
        let bitRateIndex = header >> 12 & 15
        guard header >> 21 == 0x7ff, version != 1, layer < 4, rateIndex != 3, bitRateIndex != 0, bitRateIndex != 15
        else {
            return nil
        }
        let isVersion1 = version == 3
        let sampleRate = [44_100, 48_000, 32_000][rateIndex] / (isVersion1 ? 1 : version == 2 ? 2 : 4)
        let rates = isVersion1 ? bitRates1[layer - 1] : bitRates2[min(layer, 2) - 1]
        let bits = rates[bitRateIndex - 1] * 1000
        let padding = header >> 9 & 1
        if layer == 1 { return (12 * bits / sampleRate + padding) * 4 }
        return (layer == 3 && !isVersion1 ? 72 : 144) * bits / sampleRate + padding
    }

    /// kbit/s of MPEG-1, by layer and the header's index less 1.
    private static let bitRates1 = [
        [32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448],
        [32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384],
        [32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320],
    ]
    /// kbit/s of MPEG-2 and 2.5: of layer I, and of layers II and III.
    private static let bitRates2 = [
        [32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256],
        [8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160],
    ]

    // MARK: - Info frames

    /// Bytes from the start of a file that contain the byte count of an info frame.
    static let infoLength = 64

    /// Whether a layer III frame is an info frame: the first frame of an MP3, with a Xing, LAME or VBRI (Fraunhofer)
    /// header instead of sound.
    static func isInfo(header: UInt32, body: UnsafeRawBufferPointer) -> Bool {
        infoOffset(header, ByteScan(body)) != nil
    }

    /// The byte count of an MP3 that the info frame at the start of `bytes` states.
    static func infoBytes(_ bytes: [UInt8]) -> Int64? {
        bytes.withUnsafeBytes { raw in
            let scan = ByteScan(raw)
            let body = scan.section(headerLength, raw.count)
            guard let header = scan.big32(0), header >> 21 == 0x7ff,
                let offset = infoOffset(UInt32(truncatingIfNeeded: header), body)
            else { return nil }
            if body.has("VBRI", at: offset) { return body.big32(offset + 10).map { Int64($0) } }
            guard let flags = body.big32(offset + 4), flags & 2 != 0 else { return nil }
            return body.big32(offset + (flags & 1 != 0 ? 12 : 8)).map { Int64($0) }
        }
    }

    private static func infoOffset(_ header: UInt32, _ body: ByteScan) -> Int? {
        guard header >> 17 & 3 == 1 else { return nil }
        let isVersion1 = header >> 19 & 3 == 3
        let isMono = header >> 6 & 3 == 3
        // After the space of the side information and, if present, a checksum.
        let side = isVersion1 ? (isMono ? 17 : 32) : (isMono ? 9 : 17)
        for offset in [side, side + 2] where body.has("Xing", at: offset) || body.has("Info", at: offset) {
            return offset
        }
        return body.has("VBRI", at: 32) ? 32 : nil
    }
}
