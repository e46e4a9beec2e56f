import LyraBase

/// Decodes Windows and OS/2 bitmaps to RGB: 1 to 32 bits a pixel, masks, run-length encoding, bottom-up and top-down
/// rows.
///
/// libavcodec decodes fewer headers and masks, and takes the fourth byte of 32-bit pixels for alpha even if the header
/// does not. Here pixels have alpha if the header has an alpha mask; alpha is blended onto white.
struct BMPDecoder {
    private enum Compression: Int { case none, rle8, rle4, masks, rle24, alphaMasks = 6 }

    private let scan: ByteScan
    private let name: String
    let width: Int
    let height: Int
    private let isTopDown: Bool
    private let bits: Int
    private let compression: Compression
    /// The masks of red, green, blue and alpha, for pixels of 16 or 32 bits.
    private var masks: [UInt32] = []
    /// 256 · 3 bytes; entries that the file lacks are black.
    private var palette: [UInt8] = []
    /// The offset of the pixels. Some writers leave 0: the pixels then follow the header, its masks and the palette.
    private var dataStart = 0

    /// Whether the bytes begin with a bitmap header. "BM" alone is too weak a signature.
    static func begins(_ scan: ByteScan) -> Bool {
        guard scan.has("BM", at: 0), let size = scan.little32(14) else { return false }
        guard let planes = scan.little16(size == 12 ? 22 : 26) else { return false }
        return planes <= 1 && (size == 12 || headerSizes(size))
    }

    /// The size of the stored image, or nil if the header is truncated.
    static func size(_ scan: ByteScan) -> (width: Int, height: Int)? {
        if scan.little32(14) == 12 {
            guard let width = scan.little16(18), let height = scan.little16(20) else { return nil }
            return (width, height)
        }
        guard let width = scan.little32(18), let height = scan.little32(22) else { return nil }
        return (width, Int(Int32(truncatingIfNeeded: height).magnitude))
    }

    /// Whether a header can have this size. The OS/2 2.x header may end after any field from 16 bytes on; Windows
    /// headers have 40 to 124 bytes.
    private static func headerSizes(_ size: Int) -> Bool { 16...64 ~= size || size == 108 || size == 124 }

    /// - Throws: `LyraError(.format)` if the header is damaged, `.unsupported` with the name of a feature that lyra
    ///   does not decode.
    init(_ scan: ByteScan, name: String) throws {
        self.scan = scan
        self.name = name
        guard let headerSize = scan.little32(14), let size = Self.size(scan), size.width > 0, size.height > 0 else {
            throw LyraError(.format, "\(name): a BMP image without its header")
        }
        (width, height) = size
        let isOld = headerSize == 12
        let header = scan.section(14, headerSize)
        bits = (isOld ? header.little16(10) : header.little16(14)) ?? 0
        isTopDown = !isOld && Int32(truncatingIfNeeded: header.little32(8) ?? 0) < 0
        let code = isOld ? 0 : header.little32(16) ?? 0
        let isOS2 = isOld || ![40, 52, 56, 108, 124].contains(headerSize)
        compression = try Self.compression(code, bits: bits, isOS2: isOS2, name: name)
        masks = Self.masks(scan, headerSize: headerSize, compression: compression, bits: bits)
        // Bytes after the header: a palette, or the masks that a header of 40 bytes lacks.
        let headerEnd = 14 + headerSize
        var extraBytes = headerSize == 40 ? compression == .masks ? 12 : compression == .alphaMasks ? 16 : 0 : 0
        if bits <= 8 {
            let stated = isOld ? 0 : header.little32(32) ?? 0
            let (count, entry) = (stated == 0 ? 1 << bits : min(stated, 1 << bits), isOld ? 3 : 4)
            extraBytes = count * entry
            readPalette(at: headerEnd, count: count, entry: entry)
        }
        let statedStart = scan.little32(10) ?? 0
        guard statedStart == 0 || statedStart >= headerEnd else {
            throw LyraError(
                .format, "\(name): a BMP image whose pixels begin at byte \(statedStart), inside its header")
        }
        dataStart = statedStart == 0 ? headerEnd + extraBytes : statedStart
    }

    private static func compression(_ code: Int, bits: Int, isOS2: Bool, name: String) throws -> Compression {
        let allowed: [Compression: [Int]] = [
            .none: [1, 2, 4, 8, 16, 24, 32], .rle8: [8], .rle4: [4], .masks: [16, 32], .alphaMasks: [16, 32],
            .rle24: [24],
        ]
        let names = isOS2 ? [3: "Huffman codes"] : [4: "JPEG data", 5: "PNG data"]
        guard names[code] == nil, let known = Compression(rawValue: code) else {
            throw LyraError(
                .unsupported, "\(name): a BMP image of \(names[code] ?? "compression \(code)"); convert it to PNG")
        }
        guard allowed[known]?.contains(bits) == true else {
            throw LyraError(.format, "\(name): a BMP image of \(bits) bits with compression \(code)")
        }
        return known
    }

    private static func masks(_ scan: ByteScan, headerSize: Int, compression: Compression, bits: Int) -> [UInt32] {
        guard bits == 16 || bits == 32 else { return [] }
        if compression == .none {
            return bits == 16 ? [0x7c00, 0x3e0, 0x1f, 0] : [0xff_0000, 0xff00, 0xff, 0]
        }
        let count = headerSize >= 56 || compression == .alphaMasks ? 4 : 3
        return (0..<4).map { $0 < count ? UInt32(scan.little32(54 + $0 * 4) ?? 0) : 0 }
    }

    private mutating func readPalette(at start: Int, count: Int, entry: Int) {
        palette = [UInt8](repeating: 0, count: 256 * 3)
        for index in 0..<count {
            let color = scan.section(start + index * entry, 3).bytes
            guard color.count == 3 else { break }
            for place in 0..<3 { palette[index * 3 + place] = color[2 - place] }
        }
    }

    /// Decodes the image. The caller has checked its size against the limits.
    ///
    /// - Throws: `LyraError(.format)` if the data end too early, `.memory`, `.state` if interrupted.
    func rgb(interrupted: () -> Bool) throws -> RGBImage {
        let data = scan.section(dataStart, scan.bytes.count).bytes
        return try RGBImage(width: width, height: height) { target in
            switch compression {
            case .rle4, .rle8, .rle24: try readRuns(data, into: target, interrupted)
            case .none, .masks, .alphaMasks: try readRows(data, into: target, interrupted)
            }
        }
    }

    private func check(_ row: Int, _ interrupted: () -> Bool) throws {
        if row & 15 == 0, interrupted() { throw LyraError(.state, "\(name): interrupted") }
    }

    // MARK: - Rows

    private func readRows(
        _ data: UnsafeRawBufferPointer, into target: UnsafeMutablePointer<UInt8>, _ interrupted: () -> Bool
    ) throws {
        let stride = (width * bits + 31) / 32 * 4
        // The last row's padding may be missing.
        guard let base = data.baseAddress, data.count >= stride * (height - 1) + (width * bits + 7) / 8 else {
            throw LyraError(.format, "\(name): cannot be decoded as BMP: the data end before the image")
        }
        let channels = masks.map(Channel.init)
        for row in 0..<height {
            try check(row, interrupted)
            let source = (base + row * stride).assumingMemoryBound(to: UInt8.self)
            let output = target + (isTopDown ? row : height - 1 - row) * width * 3
            switch bits {
            case 24:
                for x in 0..<width { for place in 0..<3 { output[x * 3 + place] = source[x * 3 + 2 - place] } }
            case 16, 32: readMasked(source, channels, to: output)
            default:
                let mask = (1 << bits) - 1
                for x in 0..<width {
                    let bit = x * bits
                    put(Int(source[bit >> 3]) >> (8 - bits - bit & 7) & mask, at: output + x * 3)
                }
            }
        }
    }

    /// The mask of one color channel.
    private struct Channel {
        let mask: UInt32
        let shift: UInt32
        let largest: UInt64

        init(_ mask: UInt32) {
            self.mask = mask
            shift = mask == 0 ? 0 : UInt32(mask.trailingZeroBitCount)
            largest = UInt64(mask >> shift)
        }

        /// The channel's value, 0 … 255, truncated as Pillow does.
        @inline(__always)
        func value(_ word: UInt32) -> UInt8 {
            largest == 0 ? 0 : UInt8(truncatingIfNeeded: UInt64((word & mask) >> shift) * 255 / largest)
        }
    }

    private func readMasked(
        _ source: UnsafePointer<UInt8>, _ channels: [Channel], to output: UnsafeMutablePointer<UInt8>
    ) {
        let (red, green, blue, alpha) = (channels[0], channels[1], channels[2], channels[3])
        var pixel = output
        for x in 0..<width {
            let word: UInt32
            if bits == 16 {
                word = UInt32(source[x * 2]) | UInt32(source[x * 2 + 1]) << 8
            } else {
                let bytes = source + x * 4
                word = UInt32(bytes[0]) | UInt32(bytes[1]) << 8 | UInt32(bytes[2]) << 16 | UInt32(bytes[3]) << 24
            }
            (pixel[0], pixel[1], pixel[2]) = (red.value(word), green.value(word), blue.value(word))
            if alpha.mask != 0 {
                var share = alpha.value(word)
                StillConverter.blendOntoWhite(pixel, width: 1, alpha: &share, step: 1)
            }
            pixel += 3
        }
    }

    @inline(__always)
    private func put(_ index: Int, at pixel: UnsafeMutablePointer<UInt8>) {
        for place in 0..<3 { pixel[place] = palette[index * 3 + place] }
    }

    // MARK: - Runs

    /// Decodes runs of one repeated pixel, runs of literal pixels, and jumps. Skipped pixels get color 0.
    private func readRuns(
        _ data: UnsafeRawBufferPointer, into target: UnsafeMutablePointer<UInt8>, _ interrupted: () -> Bool
    ) throws {
        for row in 0..<height {
            try check(row, interrupted)
            for x in 0..<width where bits < 24 { put(0, at: target + (row * width + x) * 3) }
            if bits == 24 { (target + row * width * 3).update(repeating: 0, count: width * 3) }
        }
        var runs = Runs(data: data, bits: bits)
        var (x, y) = (0, 0)
        while y < height {
            guard let code = runs.next() else {
                throw LyraError(.format, "\(name): cannot be decoded as BMP: the data end before the image")
            }
            switch code {
            case .endOfRow: (x, y) = (0, y + 1)
            case .endOfPicture: return
            case .endOfData:
                // Many writers omit the end code, but none a pixel of the last row.
                guard y == height - 1, x >= width else {
                    throw LyraError(.format, "\(name): cannot be decoded as BMP: the data end before the image")
                }
                return
            case .jump(let right, let down): (x, y) = (x + right, y + down)
            case .pixels(let count, let isStored):
                for place in 0..<count {
                    guard let pixel = runs.pixel(place, isStored: isStored) else {
                        throw LyraError(.format, "\(name): cannot be decoded as BMP: the data end before the image")
                    }
                    guard x < width else { continue }
                    let output = target + ((isTopDown ? y : height - 1 - y) * width + x) * 3
                    if bits == 24 {
                        for place in 0..<3 { output[place] = UInt8(truncatingIfNeeded: pixel >> (16 - 8 * place)) }
                    } else {
                        put(pixel, at: output)
                    }
                    x += 1
                }
                runs.skip(count, isStored: isStored)
            }
            if y & 15 == 0, x == 0 { try check(0, interrupted) }
        }
    }

    /// The codes of run-length data.
    private struct Runs {
        enum Code { case endOfRow, endOfPicture, endOfData, jump(Int, Int), pixels(Int, isStored: Bool) }

        let data: UnsafeRawBufferPointer
        let bits: Int
        private var offset = 0

        init(data: UnsafeRawBufferPointer, bits: Int) { (self.data, self.bits) = (data, bits) }

        private func byte(_ place: Int) -> Int? { data.indices.contains(place) ? Int(data[place]) : nil }

        mutating func next() -> Code? {
            guard let count = byte(offset), let value = byte(offset + 1) else { return .endOfData }
            if count > 0 {
                offset += 1
                return .pixels(count, isStored: false)
            }
            offset += 2
            switch value {
            case 0: return .endOfRow
            case 1: return .endOfPicture
            case 2:
                guard let right = byte(offset), let down = byte(offset + 1) else { return nil }
                offset += 2
                return .jump(right, down)
            default: return .pixels(value, isStored: true)
            }
        }

        /// A pixel of the current run: a palette index, or 0xRRGGBB.
        func pixel(_ place: Int, isStored: Bool) -> Int? {
            switch bits {
            case 4:
                let pair = byte(offset + (isStored ? place / 2 : 0))
                return pair.map { place & 1 == 0 ? $0 >> 4 : $0 & 15 }
            case 8: return byte(offset + (isStored ? place : 0))
            default:
                let start = offset + (isStored ? place * 3 : 0)
                guard let blue = byte(start), let green = byte(start + 1), let red = byte(start + 2) else { return nil }
                return red << 16 | green << 8 | blue
            }
        }

        /// Moves past the current run. Literal pixels are padded to an even number of bytes.
        mutating func skip(_ count: Int, isStored: Bool) {
            if isStored {
                let bytes = bits == 24 ? count * 3 : (count * bits + 7) / 8
                offset += bytes + bytes % 2
            } else {
                offset += bits == 24 ? 3 : 1
            }
        }
    }
}
