import CFFmpeg
import LyraTensor

/// What the first bytes of an encoded picture say: its format, its size and which way up it is.
struct ImageHeader {
    enum Kind: String { case jpeg = "JPEG", png = "PNG", gif = "GIF", webp = "WebP", bmp = "BMP", tiff = "TIFF" }

    let kind: Kind
    /// Of the stored picture; nil if it is not where it should be, or if the format says it too deep inside.
    var size: (width: Int, height: Int)?
    var orientation = Orientation.upright
    /// The first frame of an animated WebP, which libavcodec does not decode as it is.
    var firstFrame: WebPFrame?

    /// - Returns: nil if the bytes do not begin like a picture of a known format.
    init?(_ bytes: UnsafeRawBufferPointer) {
        guard let kind = Self.kind(bytes) else { return nil }
        self.kind = kind
        let scan = ByteScan(bytes)
        switch kind {
        case .jpeg: readJPEG(scan)
        case .png: readPNG(scan)
        case .webp: readWebP(scan)
        case .gif:
            if let width = scan.little16(6), let height = scan.little16(8) { size = (width, height) }
        case .bmp:
            // Rows may be stored from the top, with a negative height.
            if let width = scan.little32(18), let height = scan.little32(22) {
                size = (width, Int(Int32(truncatingIfNeeded: height).magnitude))
            }
        case .tiff: orientation = EXIF.orientation(scan)
        }
    }

    var codec: AVCodecID {
        switch kind {
        case .jpeg: AV_CODEC_ID_MJPEG
        case .png: AV_CODEC_ID_PNG
        case .gif: AV_CODEC_ID_GIF
        case .webp: AV_CODEC_ID_WEBP
        case .bmp: AV_CODEC_ID_BMP
        case .tiff: AV_CODEC_ID_TIFF
        }
    }

    private static func kind(_ bytes: UnsafeRawBufferPointer) -> Kind? {
        func begins(_ text: String, at offset: Int = 0) -> Bool {
            bytes.dropFirst(offset).starts(with: text.unicodeScalars.lazy.map { UInt8(truncatingIfNeeded: $0.value) })
        }
        if begins("\u{ff}\u{d8}\u{ff}") { return .jpeg }
        if begins("\u{89}PNG\r\n\u{1a}\n") { return .png }
        if begins("GIF87a") || begins("GIF89a") { return .gif }
        if begins("RIFF"), begins("WEBP", at: 8) { return .webp }
        if begins("II*\0") || begins("MM\0*") { return .tiff }
        // "BM" is little to go by: the four bytes that are 0, too.
        if begins("BM"), begins("\0\0\0\0", at: 6) { return .bmp }
        return nil
    }

    /// Segments up to the frame header (ITU-T T.81 B.1).
    private mutating func readJPEG(_ scan: ByteScan) {
        var offset = 2
        var hasEXIF = false
        while let marker = scan.big16(offset), marker >> 8 == 0xff {
            let code = marker & 0xff
            if code == 0xff {
                offset += 1
                continue
            }
            guard code != 0xd9, code != 0xda, let length = scan.big16(offset + 2), length >= 2 else { return }
            if code == 0xe1, !hasEXIF, scan.has("Exif\0\0", at: offset + 4) {
                hasEXIF = true
                orientation = EXIF.orientation(scan.part(offset + 10, length - 8))
            }
            // SOF0 … SOF15 without the tables and arithmetic conditioning between them.
            if 0xc0...0xcf ~= code, code != 0xc4, code != 0xc8, code != 0xcc {
                if let height = scan.big16(offset + 5), let width = scan.big16(offset + 7) { size = (width, height) }
                // What follows can still be EXIF in a file that lays its segments out oddly.
            }
            offset += 2 + length
        }
    }

    /// Chunks: length, name, data, checksum.
    private mutating func readPNG(_ scan: ByteScan) {
        if let width = scan.big32(16), let height = scan.big32(20) { size = (width, height) }
        var offset = 8
        while let length = scan.big32(offset) {
            if scan.has("eXIf", at: offset + 4) {
                orientation = EXIF.orientation(scan.part(offset + 8, length))
                return
            }
            offset += 12 + length
        }
    }

    private mutating func readWebP(_ scan: ByteScan) {
        var offset = 12
        while let length = scan.little32(offset + 4) {
            let data = scan.part(offset + 8, length)
            if scan.has("VP8X", at: offset), let width = data.little24(4), let height = data.little24(7) {
                size = (width + 1, height + 1)
            } else if size == nil {
                size = WebPFrame.size(of: scan.part(offset, 8 + length))
            }
            if firstFrame == nil, scan.has("ANMF", at: offset) { firstFrame = WebPFrame(data) }
            if scan.has("EXIF", at: offset) {
                orientation = EXIF.orientation(data.has("Exif\0\0", at: 0) ? data.part(6, length) : data)
            }
            offset += 8 + length + length % 2
        }
    }
}

/// The frame of an animated WebP: where on the canvas it lies, and its chunks.
struct WebPFrame {
    let x: Int
    let y: Int
    let width: Int
    let height: Int
    /// The frame as a WebP file of its own.
    let file: [UInt8]

    /// From the data of an ANMF chunk.
    init?(_ data: ByteScan) {
        guard let x = data.little24(0), let y = data.little24(3), let width = data.little24(6),
            let height = data.little24(9), data.bytes.count > 16
        else { return nil }
        (self.x, self.y, self.width, self.height) = (x * 2, y * 2, width + 1, height + 1)
        func little(_ value: Int, _ count: Int) -> [UInt8] {
            (0..<count).map { UInt8(truncatingIfNeeded: value >> ($0 * 8)) }
        }
        let chunks = data.part(16, data.bytes.count)
        var header: [UInt8] = []
        if chunks.has("ALPH", at: 0) {
            header = Array("VP8X".utf8) + little(10, 4) + [0x10, 0, 0, 0] + little(width, 3) + little(height, 3)
        }
        let size = 4 + header.count + chunks.bytes.count
        file = Array("RIFF".utf8) + little(size, 4) + Array("WEBP".utf8) + header + chunks.bytes
    }

    /// From the header of the bitstream in a "VP8 " or "VP8L" chunk.
    static func size(of chunk: ByteScan) -> (width: Int, height: Int)? {
        if chunk.has("VP8L", at: 0), let bits = chunk.little32(9) {
            return (bits & 0x3fff + 1, bits >> 14 & 0x3fff + 1)
        }
        guard chunk.has("VP8 ", at: 0), let width = chunk.little16(14), let height = chunk.little16(16) else {
            return nil
        }
        return (width & 0x3fff, height & 0x3fff)
    }
}
