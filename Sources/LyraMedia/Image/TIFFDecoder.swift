import Glibc
import LyraBase

/// Decodes the first image of a TIFF or BigTIFF to RGB, without turning it: strips or tiles, interleaved or planar
/// samples of 1 to 16 bits, gray, palette, RGB, CMYK and Y'CbCr.
///
/// Samples of more than 8 bits keep their highest 8. Alpha is blended onto white; unspecified extra samples are
/// ignored.
struct TIFFDecoder {
    private let file: TIFFFile
    private let name: String
    private let interrupted: () -> Bool
    /// The most bytes of one allocation.
    private let allocationLimit: Int
    let width: Int
    let height: Int
    private let photometric: Photometric
    private let compression: Int
    private let bits: Int
    /// The stored samples of a pixel.
    private let samples: Int
    private let isPlanar: Bool
    private let alpha: Alpha
    /// The indices of the samples that are decoded: the colors and, if present, alpha.
    private let used: [Int]
    /// The orientation of the tag, or else of XMP. It is read first, because decoding may overwrite the tag in libtiff.
    let orientation: Int?

    private enum Photometric: Int { case whiteIsZero, blackIsZero, rgb, palette, cmyk = 5, ycbcr }

    private enum Alpha { case none, straight, premultiplied }

    private static let (oldJPEG, jpeg) = (6, 7)

    /// Reads the directory.
    ///
    /// - Throws: `LyraError(.format)`, or `.unsupported` with the name of a feature that lyra does not decode.
    init(_ bytes: UnsafeRawBufferPointer, name: String, limits: MediaLimits, interrupted: @escaping () -> Bool) throws {
        self.name = name
        self.interrupted = interrupted
        allocationLimit = max(1 << 24, min(max(limits.imagePixels, 0), 1 << 40) * 8)
        file = try TIFFFile(bytes, name: name, allocationLimit: allocationLimit)
        (width, height) = (file.long(.width) ?? 0, file.long(.height) ?? 0)
        compression = file.short(.compression) ?? 1
        bits = file.short(.bitsPerSample) ?? 1
        samples = file.short(.samplesPerPixel) ?? 1
        isPlanar = file.short(.planar) == 2 && samples > 1
        photometric = try Self.photometric(file, compression: compression, samples: samples, name: name)
        let colors = [.rgb, .ycbcr].contains(photometric) ? 3 : photometric == .cmyk ? 4 : 1
        // An undeclared sample after RGB is taken for alpha, as Pillow does.
        let isDeclared = TIFFDirectory(ByteScan(bytes))?.entry(TIFFFile.Tag.extraSamples.rawValue) != nil
        let extra = isDeclared ? file.extraSamples() : samples == colors + 1 && photometric == .rgb ? [2] : []
        let alphaIndex = extra.prefix(max(samples - colors, 0)).firstIndex { $0 == 1 || $0 == 2 }
        if let alphaIndex { alpha = extra[alphaIndex] == 1 ? .premultiplied : .straight } else { alpha = .none }
        used = Array(0..<colors) + (alphaIndex.map { [colors + $0] } ?? [])
        orientation = file.statedShort(.orientation) ?? file.withXMP(XMP.orientation)
        try validate(colors: colors)
    }

    private static func photometric(
        _ file: TIFFFile, compression: Int, samples: Int, name: String
    ) throws -> Photometric {
        if compression == oldJPEG { return samples == 1 ? .blackIsZero : .ycbcr }
        guard let stated = file.statedShort(.photometric) else { return samples < 3 ? .whiteIsZero : .rgb }
        if let known = Photometric(rawValue: stated) {
            // Y'CbCr of one sample is luma only.
            return known == .ycbcr && samples == 1 ? .blackIsZero : known
        }
        let names = [
            4: "a transparency mask", 8: "CIE L*a*b*", 9: "ICC L*a*b*", 10: "ITU L*a*b*",
            32_803: "a color filter array", 32_844: "LogL", 32_845: "LogLuv", 34_892: "linear raw",
        ]
        throw LyraError(
            .unsupported,
            "\(name): a TIFF of \(names[stated] ?? "photometric interpretation \(stated)"); convert it to RGB")
    }

    private func validate(colors: Int) throws {
        func refuse(_ what: String) -> LyraError {
            LyraError(.unsupported, "\(name): a TIFF with \(what); convert it to 8-bit RGB")
        }
        guard file.decodes(compression: compression) else {
            throw refuse("compression \(compression), which the installed libtiff cannot decode")
        }
        let formats = [2: "signed samples", 3: "floating-point samples", 5: "complex samples", 6: "complex samples"]
        if let format = formats[file.short(.sampleFormat) ?? 1] { throw refuse(format) }
        guard (1...16).contains(bits) else { throw refuse("samples of \(bits) bits") }
        guard samples >= colors else { throw LyraError(.format, "\(name): a TIFF with \(samples) samples a pixel") }
        if photometric == .palette, bits > 8 { throw refuse("a palette of 2^\(bits) colors") }
        if photometric == .ycbcr, bits != 8 { throw refuse("Y'CbCr samples of \(bits) bits") }
        if photometric == .cmyk, let inks = file.short(.inkSet), inks != 1 { throw refuse("inks other than CMYK") }
    }

    /// Decodes the image. The caller has checked its size against the limits.
    ///
    /// - Throws: `LyraError(.format)` if the file is damaged, `.memory`, `.state` if interrupted.
    func rgb() throws -> RGBImage {
        let isRGBA = photometric == .ycbcr && (compression != Self.jpeg || isPlanar)
        if photometric == .ycbcr {
            if isRGBA { file.clearOrientation() } else { file.setJPEGToRGB() }
        }
        let count = used.count
        let memory = retryingAllocation { calloc(width * height, count) }
        guard let values = memory?.assumingMemoryBound(to: UInt8.self) else {
            throw LyraError(.memory, "\(name): no memory for an image of \(width) × \(height) pixels")
        }
        defer { free(values) }
        if isRGBA {
            try readConverted(into: values)
        } else if file.isTiled {
            try readTiles(into: values)
        } else {
            try readRows(into: values)
        }
        let colors = try Colors(photometric, file, bits: bits, name: name)
        return try RGBImage(width: width, height: height) { target in
            for row in 0..<height {
                try check(row)
                let source = values + row * width * count
                let output = target + row * width * 3
                colors.convert(source, count, width, to: output)
                if alpha != .none { blendOntoWhite(output, source + (count - 1), step: count) }
            }
        }
    }

    private func check(_ row: Int) throws {
        if row & 15 == 0, interrupted() { throw LyraError(.state, "\(name): interrupted") }
    }

    // MARK: - Samples

    /// Calls `body` with zeroed memory for a decoded row or tile.
    private func withBuffer(_ bytes: Int, _ body: (UnsafeMutableRawPointer) throws -> Void) throws {
        guard bytes > 0, bytes <= allocationLimit, let buffer = retryingAllocation({ calloc(bytes, 1) }) else {
            throw LyraError(.memory, "\(name): no memory for a row or tile of \(bytes) bytes (limit_pixels)")
        }
        defer { free(buffer) }
        try body(buffer)
    }

    private func readRows(into values: UnsafeMutablePointer<UInt8>) throws {
        try requireBytes(file.rowBytes, pixels: width)
        try withBuffer(file.rowBytes) { buffer in
            // Planar samples are read plane by plane, since libtiff decodes rows in order.
            for (place, sample) in isPlanar ? Array(used.enumerated()) : [(0, 0)] {
                for row in 0..<height {
                    try check(row)
                    try file.readRow(row, sample: sample, into: buffer)
                    store(buffer, width, to: values + row * width * used.count + place)
                }
            }
        }
    }

    /// The most pixels of a tile, unless four times those of the image are more. Usual tiles have 16² to 1024² pixels.
    private static let tilePixels = 1 << 24

    private func tileSize() throws -> (width: Int, height: Int) {
        guard let tileWidth = file.long(.tileWidth), let tileHeight = file.long(.tileHeight), tileWidth > 0,
            tileHeight > 0
        else { throw LyraError(.format, "\(name): a TIFF with tiles of no size") }
        guard let pixels = tileWidth.checkedMultiplying(by: tileHeight),
            pixels <= max(Self.tilePixels, 4 * width * height)
        else {
            throw LyraError(
                .memory,
                "\(name): a TIFF of \(width) × \(height) pixels with tiles of \(tileWidth) × \(tileHeight); "
                    + "a tile may have \(Self.tilePixels) pixels, or four times those of the image")
        }
        return (tileWidth, tileHeight)
    }

    private func readTiles(into values: UnsafeMutablePointer<UInt8>) throws {
        let tile = try tileSize()
        let bytes = file.tileBytes
        try requireBytes(bytes / tile.height, pixels: tile.width)
        try withBuffer(bytes) { buffer in
            for (place, sample) in isPlanar ? Array(used.enumerated()) : [(0, 0)] {
                for y in stride(from: 0, to: height, by: tile.height) {
                    for x in stride(from: 0, to: width, by: tile.width) {
                        try check(0)
                        try file.readTile(x: x, y: y, sample: sample, into: buffer)
                        for row in y..<min(y + tile.height, height) {
                            store(
                                buffer + (row - y) * (bytes / tile.height), min(tile.width, width - x),
                                to: values + (row * width + x) * used.count + place)
                        }
                    }
                }
            }
        }
    }

    /// Checks that a row of `pixels` pixels fits into `bytes` bytes.
    private func requireBytes(_ bytes: Int, pixels: Int) throws {
        guard bytes >= (pixels * (isPlanar ? 1 : samples) * bits + 7) / 8 else {
            throw LyraError(.format, "\(name): a TIFF whose rows have only \(bytes) bytes")
        }
    }

    /// Reads Y'CbCr, which libtiff converts with the file's coefficients and range.
    private func readConverted(into values: UnsafeMutablePointer<UInt8>) throws {
        var tile = (width: width, height: min(file.long(.rowsPerStrip) ?? height, height))
        if file.isTiled { tile = try tileSize() }
        guard tile.height > 0 else { throw LyraError(.format, "\(name): a TIFF with strips of no rows") }
        try withBuffer(tile.width * tile.height * 4) { buffer in
            let words = buffer.assumingMemoryBound(to: UInt32.self)
            for y in stride(from: 0, to: height, by: tile.height) {
                for x in stride(from: 0, to: width, by: tile.width) {
                    try check(0)
                    try file.readRGBA(x: x, y: y, into: words)
                    let rows = min(tile.height, height - y)
                    // libtiff returns rows bottom-up. A tile is always complete; the last strip can be shorter.
                    let lowest = (file.isTiled ? tile.height : rows) - 1
                    for row in 0..<rows {
                        let source = words + (lowest - row) * tile.width
                        let target = values + ((y + row) * width + x) * used.count
                        for column in 0..<min(tile.width, width - x) {
                            for place in 0..<3 {
                                target[column * used.count + place] =
                                    UInt8(truncatingIfNeeded: source[column] >> UInt32(8 * place))
                            }
                            if used.count > 3 { target[column * used.count + 3] = 255 }
                        }
                    }
                }
            }
        }
    }

    /// Stores the samples of a decoded row that `used` lists as bytes; of planar samples, the row has only one.
    private func store(_ row: UnsafeMutableRawPointer, _ pixels: Int, to target: UnsafeMutablePointer<UInt8>) {
        let places = isPlanar ? [0] : used
        let interleaved = isPlanar ? 1 : samples
        for (place, sample) in places.enumerated() {
            var output = target + place
            switch bits {
            case 8:
                var source = row.assumingMemoryBound(to: UInt8.self) + sample
                for _ in 0..<pixels {
                    output.pointee = source.pointee
                    (output, source) = (output + used.count, source + interleaved)
                }
            case 16:
                var source = row.assumingMemoryBound(to: UInt16.self) + sample
                for _ in 0..<pixels {
                    output.pointee = UInt8(truncatingIfNeeded: source.pointee >> 8)
                    (output, source) = (output + used.count, source + interleaved)
                }
            default:
                let source = row.assumingMemoryBound(to: UInt8.self)
                for pixel in 0..<pixels {
                    output.pointee = unpacked(source, (pixel * interleaved + sample) * bits)
                    output += used.count
                }
            }
        }
    }

    /// Reads a sample of 1 … 15 bits, the highest bit first, and scales it to 0 … 255. A palette index is not scaled.
    private func unpacked(_ bytes: UnsafePointer<UInt8>, _ start: Int) -> UInt8 {
        var value = 0
        for bit in start..<start + bits { value = value << 1 | Int(bytes[bit >> 3] >> UInt8(7 - bit & 7)) & 1 }
        if bits > 8 { value >>= bits - 8 }
        return UInt8(truncatingIfNeeded: bits > 8 || photometric == .palette ? value : value * 255 / ((1 << bits) - 1))
    }

    // MARK: - Colors

    /// How a pixel's samples of 8 bits become R, G and B.
    private struct Colors {
        private let photometric: Photometric
        /// The palette: 256 · 3 bytes.
        private var table: [UInt8] = []

        init(_ photometric: Photometric, _ file: TIFFFile, bits: Int, name: String) throws {
            self.photometric = photometric
            guard photometric == .palette else { return }
            guard let map = file.colorMap(1 << bits) else {
                throw LyraError(.format, "\(name): a TIFF without its palette")
            }
            // Some writers store 8-bit values in the 16-bit palette.
            let shift: UInt16 = map.allSatisfy { $0.allSatisfy { $0 < 256 } } ? 0 : 8
            table = (0..<256).flatMap { index in
                map.map { $0.indices.contains(index) ? UInt8(truncatingIfNeeded: $0[index] >> shift) : 0 }
            }
        }

        /// - Parameter step: Bytes from one source pixel to the next.
        func convert(
            _ source: UnsafePointer<UInt8>, _ step: Int, _ pixels: Int, to target: UnsafeMutablePointer<UInt8>
        ) {
            switch photometric {
            case .rgb, .ycbcr:
                for pixel in 0..<pixels {
                    for place in 0..<3 { target[pixel * 3 + place] = source[pixel * step + place] }
                }
            case .whiteIsZero, .blackIsZero:
                let flip: UInt8 = photometric == .whiteIsZero ? 255 : 0
                for pixel in 0..<pixels {
                    (target + pixel * 3).update(repeating: source[pixel * step] ^ flip, count: 3)
                }
            case .palette:
                table.withUnsafeBufferPointer { table in
                    for pixel in 0..<pixels {
                        let color = Int(source[pixel * step]) * 3
                        for place in 0..<3 { target[pixel * 3 + place] = table[color + place] }
                    }
                }
            case .cmyk:
                for pixel in 0..<pixels {
                    let inks = source + pixel * step
                    CMYK.convert((inks[0], inks[1], inks[2]), black: inks[3], to: target + pixel * 3)
                }
            }
        }
    }

    private func blendOntoWhite(_ pixels: UnsafeMutablePointer<UInt8>, _ alpha: UnsafePointer<UInt8>, step: Int) {
        if self.alpha == .premultiplied {
            for pixel in 0..<width {
                let share = Int(alpha[pixel * step])
                for place in pixel * 3..<pixel * 3 + 3 {
                    pixels[place] = share == 0 ? 0 : UInt8(min(255, Int(pixels[place]) * 255 / share))
                }
            }
        }
        StillConverter.blendOntoWhite(pixels, width: width, alpha: alpha, step: step)
    }
}
