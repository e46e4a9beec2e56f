import CFFmpeg
import LyraBase

/// Format, size, orientation and other properties from the header of an encoded image.
struct ImageHeader {
    enum Kind: String { case jpeg = "JPEG", png = "PNG", gif = "GIF", webp = "WebP", bmp = "BMP", tiff = "TIFF" }

    let kind: Kind
    /// The size of the stored image; nil if the header lacks it. `TIFFDecoder` finds that of a TIFF.
    var size: (width: Int, height: Int)?
    /// The orientation of EXIF, or else of XMP: 1 … 8. `TIFFDecoder` finds that of a TIFF.
    var orientation: Int?
    /// The transparent gray of a PNG of 1, 2 or 4 bits, scaled to 0 … 255. libavcodec ignores it with 1 bit, and finds
    /// only black with 2 and 4 bits.
    var transparentGray: UInt8?
    /// An iTXt chunk of a PNG with a compressed XMP packet: the offsets of its type, its data and the compressed text.
    private var compressedXMP: (type: Int, data: Int, text: Range<Int>)?
    /// The printing inks of a JPEG of four components.
    var inks: JPEGInks?
    /// The first frame of an animated WebP; libavcodec does not decode the whole file.
    var firstFrame: WebPFrame?

    /// - Returns: nil if the bytes do not begin like an image of a known format.
    /// - Throws: `LyraError.memory` if there is no memory for EXIF data or a WebP frame.
    init?(_ bytes: UnsafeRawBufferPointer) throws {
        guard let kind = Self.kind(bytes) else { return nil }
        self.kind = kind
        let scan = ByteScan(bytes)
        switch kind {
        case .jpeg: try readJPEG(scan)
        case .png: readPNG(scan)
        case .webp: try readWebP(scan)
        case .gif:
            if let width = scan.little16(6), let height = scan.little16(8) { size = (width, height) }
        case .bmp: size = BMPDecoder.size(scan)
        case .tiff: break
        }
    }

    /// libavcodec's decoder; nil for formats that lyra decodes without libavcodec.
    var codec: AVCodecID? {
        switch kind {
        case .jpeg: AV_CODEC_ID_MJPEG
        case .png: AV_CODEC_ID_PNG
        case .gif: AV_CODEC_ID_GIF
        case .webp: AV_CODEC_ID_WEBP
        case .bmp, .tiff: nil
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
        if begins("II*\0") || begins("MM\0*") || begins("II+\0") || begins("MM\0+") { return .tiff }
        return BMPDecoder.begins(ByteScan(bytes)) ? .bmp : nil
    }

    /// Reads the segments before the first scan (ITU-T T.81 B.1).
    private mutating func readJPEG(_ scan: ByteScan) throws {
        var offset = 2
        let exif = GrowingBuffer<UInt8>()
        var xmp: Int?
        var adobe: (offset: Int, transform: Int)?
        var frame: Int?
        defer {
            orientation = EXIF.orientation(ByteScan(UnsafeRawBufferPointer(exif.elements))) ?? xmp
            if let frame, scan.integer(frame + 5, 1, big: true) == 4 {
                inks = JPEGInks(scan, frame: frame, transformOffset: adobe?.offset, isYCCK: adobe?.transform == 2)
            }
        }
        while let marker = scan.big16(offset), marker >> 8 == 0xff {
            let code = marker & 0xff
            if code == 0xff {
                offset += 1
                continue
            }
            guard code != 0xd9, code != 0xda, let length = scan.big16(offset + 2), length >= 2 else { return }
            let data = scan.section(offset + 4, length - 2)
            if code == 0xe1, data.has("Exif\0\0", at: 0) {
                // Long EXIF data continue in the next segment.
                try exif.append(data.bytes.dropFirst(6))
            } else if code == 0xe1, xmp == nil, data.has("http://ns.adobe.com/xap/1.0/\0", at: 0) {
                xmp = XMP.orientation(data)
            } else if code == 0xee, data.has("Adobe", at: 0), let transform = data.integer(11, 1, big: true) {
                adobe = (offset + 15, transform)
            }
            // SOF0 … SOF15, without DHT, JPG and DAC, whose codes lie between.
            if 0xc0...0xcf ~= code, code != 0xc4, code != 0xc8, code != 0xcc {
                if let height = data.big16(1), let width = data.big16(3) { size = (width, height) }
                frame = offset + 4
                // Go on: in an unusual file the EXIF segment follows the frame header.
            }
            offset += 2 + length
        }
    }

    /// Reads the chunks: each has length, name, data and checksum.
    private mutating func readPNG(_ scan: ByteScan) {
        if let width = scan.big32(16), let height = scan.big32(20) { size = (width, height) }
        // The bit depth, if the color type is gray without alpha.
        let depth = scan.integer(25, 1, big: true) == 0 ? scan.integer(24, 1, big: true) ?? 0 : 0
        var (exif, xmp) = (Int?.none, Int?.none)
        var offset = 8
        while let length = scan.big32(offset) {
            let data = scan.section(offset + 8, length)
            if exif == nil, scan.has("eXIf", at: offset + 4) { exif = EXIF.orientation(data) }
            // After the keyword: compression flag and method, then language and translated keyword, both often empty.
            if xmp == nil, scan.has("iTXt", at: offset + 4), data.has("XML:com.adobe.xmp\0\0", at: 0) {
                xmp = XMP.orientation(data)
            }
            if compressedXMP == nil, scan.has("iTXt", at: offset + 4), data.has("XML:com.adobe.xmp\0\u{1}\0", at: 0) {
                compressedXMP = Self.compressedText(data).map { text in
                    (offset + 4, offset + 8, text.lowerBound + offset + 8..<text.upperBound + offset + 8)
                }
            }
            if [1, 2, 4].contains(depth), length == 2, scan.has("tRNS", at: offset + 4), let gray = data.big16(0) {
                let largest = (1 << depth) - 1
                transparentGray = UInt8((gray & largest) * 255 / largest)
            }
            offset += 12 + length
        }
        orientation = exif ?? xmp
    }

    /// The compressed text of an iTXt chunk. Before it come the keyword, a compression flag and method, then language
    /// and translated keyword, each terminated by a zero.
    private static func compressedText(_ data: ByteScan) -> Range<Int>? {
        var start = xmpKey.utf8.count + 3
        for _ in 0..<2 {
            guard let zero = data.bytes.dropFirst(start).firstIndex(of: 0) else { return nil }
            start = zero + 1
        }
        return start < data.bytes.count ? start..<data.bytes.count : nil
    }

    /// The keyword of a PNG text that is an XMP packet.
    static let xmpKey = "XML:com.adobe.xmp"

    /// Turns the iTXt chunk with a compressed XMP packet into a zTXt chunk with the same text. libavcodec inflates zTXt
    /// into metadata, but skips iTXt.
    func exposeCompressedXMP(in bytes: UnsafeMutableRawBufferPointer) {
        guard let xmp = compressedXMP, bytes.indices.contains(xmp.text.upperBound - 1) else { return }
        // The keyword and its zero stay; the compression method, 0, and the text follow.
        let method = xmp.data + Self.xmpKey.utf8.count + 1
        bytes[xmp.type] = UInt8(ascii: "z")
        bytes[method] = 0
        for (place, source) in zip(method + 1..<xmp.text.upperBound, xmp.text) { bytes[place] = bytes[source] }
        for place in method + 1 + xmp.text.count..<xmp.text.upperBound { bytes[place] = 0 }
    }

    private mutating func readWebP(_ scan: ByteScan) throws {
        var (exif, xmp) = (Int?.none, Int?.none)
        var offset = 12
        while let length = scan.little32(offset + 4) {
            let data = scan.section(offset + 8, length)
            if scan.has("VP8X", at: offset), let width = data.little24(4), let height = data.little24(7) {
                size = (width + 1, height + 1)
            } else if size == nil {
                size = WebPFrame.size(of: scan.section(offset, 8 + length))
            }
            if firstFrame == nil, scan.has("ANMF", at: offset) { firstFrame = try WebPFrame(data) }
            if exif == nil, scan.has("EXIF", at: offset) { exif = EXIF.orientation(data) }
            if xmp == nil, scan.has("XMP ", at: offset) { xmp = XMP.orientation(data) }
            offset += 8 + length + length % 2
        }
        orientation = exif ?? xmp
    }
}

/// One frame of an animated WebP, and its position on the canvas.
struct WebPFrame {
    let x: Int
    let y: Int
    let width: Int
    let height: Int
    /// The frame as a WebP file of its own.
    let file = GrowingBuffer<UInt8>()

    /// Reads the data of an ANMF chunk.
    ///
    /// - Throws: `LyraError.memory` if there is no memory for the frame.
    init?(_ data: ByteScan) throws {
        guard let x = data.little24(0), let y = data.little24(3), let width = data.little24(6),
            let height = data.little24(9), data.bytes.count > 16
        else { return nil }
        (self.x, self.y, self.width, self.height) = (x * 2, y * 2, width + 1, height + 1)
        func little(_ value: Int, _ count: Int) -> [UInt8] {
            (0..<count).map { UInt8(truncatingIfNeeded: value >> ($0 * 8)) }
        }
        let chunks = data.section(16, data.bytes.count)
        var header: [UInt8] = []
        if chunks.has("ALPH", at: 0) {
            header = Array("VP8X".utf8) + little(10, 4) + [0x10, 0, 0, 0] + little(width, 3) + little(height, 3)
        }
        let size = 4 + header.count + chunks.bytes.count
        try file.reserve(8 + size)
        try file.append(Array("RIFF".utf8) + little(size, 4) + Array("WEBP".utf8) + header)
        try file.append(chunks.bytes)
    }

    /// The image size in the bitstream header of a "VP8 " or "VP8L" chunk.
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
