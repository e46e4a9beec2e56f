import LyraBase

/// The format of a file, detected by signatures at fixed offsets of its beginning.
///
/// Only signatures identify a container. MP3 frames further inside its first bytes do not count.
enum MediaFormat: Equatable {
    /// A format of libsndfile.
    case sound
    /// A WAV file whose samples are MPEG audio.
    case mpegWave
    case ogg
    /// A container or raw stream that only FFmpeg reads; its demuxer, if the signature is unambiguous.
    case media(demuxer: String?)
    /// MP3, MP2 or MP1 frames that begin at the first byte.
    case mpegAudio
    case unknown

    /// The demuxer to pass to FFmpeg; nil if FFmpeg must detect it.
    var demuxer: String? { if case .media(let demuxer) = self { demuxer } else { nil } }

    private static let headLength = 4096

    /// - Parameter reader: Its bytes begin after the tags.
    init(_ reader: any ByteReader, name: String) throws {
        let head = try reader.peek(0, Self.headLength, name: name)
        self = head.withUnsafeBytes { Self.format(ByteScan($0)) }
        guard self == .sound, head.starts(with: "RIFF".utf8) || head.starts(with: "RIFX".utf8) else { return }
        if try SoundHeader.isMPEG(reader, name: name) { self = .mpegWave }
    }

    private static func format(_ scan: ByteScan) -> MediaFormat {
        if scan.has("OggS", at: 0) { return .ogg }
        if isSound(scan) { return .sound }
        if let demuxer = container(scan) { return .media(demuxer: demuxer) }
        // Other RIFF and FORM files; AAC in LOAS, whose sync word has eleven bits.
        let isOther = scan.has("RIFF", at: 0) || scan.has("FORM", at: 0) || scan.big16(0).map { $0 & 0xffe0 } == 0x56e0
        if isOther { return .media(demuxer: nil) }
        if signatures.contains(where: { scan.bytes.starts(with: $0) }) { return .media(demuxer: nil) }
        if isADTS(scan) { return .media(demuxer: "aac") }
        let bytes = Array(scan.section(0, 4).bytes)
        return MP3Sync.hasHeader(bytes) ? .mpegAudio : .unknown
    }

    private static func isSound(_ scan: ByteScan) -> Bool {
        let riff = ["RIFF", "RIFX", "RF64", "BW64"].contains { scan.has($0, at: 0) } && scan.has("WAVE", at: 8)
        let form = scan.has("FORM", at: 0) && ["AIFF", "AIFC", "8SVX", "16SV"].contains { scan.has($0, at: 8) }
        let signatures = ["riff", ".snd", "dns.", "caff", "fLaC", "Creative Voice File", "NIST_1A"]
        return riff || form || signatures.contains { scan.has($0, at: 0) }
    }

    private static func container(_ scan: ByteScan) -> String? {
        if scan.big32(0) == 0x1a45_dfa3 { return "matroska" }
        if scan.has("AVI ", at: 8) || scan.has("AVIX", at: 8), scan.has("RIFF", at: 0) || scan.has("ON2 ", at: 0) {
            return "avi"
        }
        if scan.has("FLV", at: 0), scan.integer(3, 1, big: true) == 1 { return "flv" }
        if scan.big32(0) == 0x3026_b275, scan.big32(4) == 0x8e66_cf11 { return "asf" }
        if scan.big32(0) == 0x1ba { return "mpeg" }
        if isQuickTime(scan) { return "mov" }
        return isTransportStream(scan) ? "mpegts" : nil
    }

    /// Boxes with which QuickTime and MP4 files begin (ISO/IEC 14496-12, 4.2, and QuickTime's own).
    private static let firstBoxes = [
        "ftyp", "styp", "moov", "moof", "mdat", "wide", "free", "skip", "pnot", "sidx", "junk", "uuid",
    ]

    private static func isQuickTime(_ scan: ByteScan) -> Bool {
        guard firstBoxes.contains(where: { scan.has($0, at: 4) }), let length = scan.big32(0) else { return false }
        // 0: to the end of the file; 1: the length follows in 64 bits.
        return length >= 8 || length == 0 || length == 1
    }

    /// Packets of 188 bytes, some variants with a time code of 4 bytes before or a checksum of 16 bytes after each. A
    /// stream that was cut out of another begins inside a packet.
    private static func isTransportStream(_ scan: ByteScan) -> Bool {
        for length in [188, 192, 204] {
            for first in 0..<length where scan.integer(first, 1, big: true) == 0x47 {
                let places = Array(stride(from: first, to: scan.bytes.count, by: length))
                let isAtStart = first == 0 || length == 192 && first == 4
                if places.count >= (isAtStart ? 3 : 12), places.allSatisfy({ scan.integer($0, 1, big: true) == 0x47 }) {
                    return true
                }
            }
        }
        return false
    }

    /// AAC in ADTS (ISO/IEC 13818-7): three frames in a row, or one or two that fill the file.
    private static func isADTS(_ scan: ByteScan) -> Bool {
        var offset = 0
        for frame in 0..<3 {
            guard let mark = scan.big16(offset) else { return frame > 0 && offset == scan.bytes.count }
            guard mark & 0xfff6 == 0xfff0, let length = scan.integer(offset + 3, 3, big: true) else { return false }
            guard length >> 5 & 0x1fff >= 7 else { return false }
            offset += length >> 5 & 0x1fff
        }
        return true
    }

    /// Signatures of formats that FFmpeg tells apart.
    private static let signatures: [[UInt8]] =
        [
            "#!AMR", "DKIF", "GIF8", "nut/multimedia container\0", "wvpk", "TTA1", "MAC ", "DSD ", "tBaK", "MPCK",
            "MP+", ".RMF",
            ".ra\u{fd}", "YUV4MPEG2", "ajkg", "FRM8",
        ].map { Array($0.unicodeScalars.map { UInt8(truncatingIfNeeded: $0.value) }) } + [
            // AC-3 in both byte orders; DTS in both; DTS-HD.
            [0x0b, 0x77], [0x77, 0x0b], [0x7f, 0xfe, 0x80, 0x01], [0xfe, 0x7f, 0x01, 0x80], [0x64, 0x58, 0x20, 0x25],
            // MPEG-1, MPEG-2 and MPEG-4 video, H.264 and HEVC; DV; MXF; Windows' WTV.
            [0, 0, 1, 0xb3], [0, 0, 1, 0xb0], [0, 0, 0, 1], [0, 0, 1, 0x67], [0, 0, 1, 0x09], [0x1f, 0x07, 0x00],
            [0x06, 0x0e, 0x2b, 0x34], [0xb7, 0xd8, 0x00, 0x20],
        ]
}
