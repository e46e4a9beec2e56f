import CFFmpeg
import Glibc
import LyraBase

/// Decodes images to upright 8-bit RGB: JPEG, PNG, WebP, GIF (of animations the first frame), BMP and TIFF.
///
/// The first bytes tell the format; the file name does not matter. The orientation of EXIF, or else of XMP, is applied.
/// Transparency is blended onto white. Samples of 16 bits keep their high byte. Color profiles are ignored.
public enum ImageDecoder {
    /// Decodes the image in a file.
    ///
    /// - Throws: `LyraError(.io)` if the file cannot be read, `.format` if it is damaged or no image, `.memory` if the
    ///   image exceeds the limits, `.state` if interrupted.
    public static func decode(
        path: String, limits: MediaLimits = MediaLimits(), interrupted: () -> Bool = { false }
    ) throws -> RGBImage {
        let reader = try FileByteReader(path: path, limits: limits, interrupted: interrupted)
        return try decode(reader: reader, name: path, limits: limits, interrupted: interrupted)
    }

    /// Decodes the image that consists of all bytes of a reader.
    ///
    /// Decoding runs on a thread of its own, which an interruption abandons. The reader is called on the calling thread
    /// only.
    ///
    /// - Parameter interrupted: Polled between reads and while the image is decoded; true ends the call with
    ///   `LyraError(.state)`.
    public static func decode(
        reader: any ByteReader, name: String, limits: MediaLimits = MediaLimits(),
        interrupted: () -> Bool = { false }
    ) throws -> RGBImage {
        let file = try read(reader, name: name, limits: limits, interrupted: interrupted)
        // A decoder cannot be interrupted, only abandoned: it owns all that it uses.
        return try BackgroundWork.run(name: name, interrupted: interrupted) { isUnwanted in
            try decode(file, name: name, limits: limits, interrupted: isUnwanted)
        }
    }

    /// The bytes in which `size` looks for a header; EXIF data before it have at most 64 KiB.
    private static let headerBytes = 1 << 17

    /// The size of an upright image, from the header alone.
    ///
    /// - Returns: nil if the bytes do not begin like an image, or their beginning does not tell the size, as in a TIFF.
    /// - Throws: `LyraError(.io)` if the reader fails, `.format` if the file is empty, `.memory`.
    public static func size(reader: any ByteReader, name: String) throws -> PixelSize? {
        let length = Int(min(try reader.checkedSize(name: name), Int64(headerBytes)))
        let start = try reader.piece(0, length, name: name)
        defer { withExtendedLifetime(start) {} }
        guard let header = try ImageHeader(UnsafeRawBufferPointer(start.elements)), let size = header.size,
            size.width > 0, size.height > 0
        else { return nil }
        let isTransposed = Orientation(exif: header.orientation ?? 1).isTransposed
        return isTransposed
            ? PixelSize(width: size.height, height: size.width) : PixelSize(width: size.width, height: size.height)
    }

    private static func decode(
        _ file: GrowingBuffer<UInt8>, name: String, limits: MediaLimits, interrupted: @escaping () -> Bool
    ) throws -> RGBImage {
        let bytes = UnsafeRawBufferPointer(file.elements)
        guard let header = try ImageHeader(bytes) else {
            throw LyraError(
                .format, "\(name): not an image that lyra can decode: JPEG, PNG, WebP, GIF, BMP or TIFF")
        }
        func checkSize(_ width: Int, _ height: Int) throws {
            try check(width: width, height: height, kind: header.kind, name: name, limits: limits)
        }
        if let size = header.size { try checkSize(size.width, size.height) }
        switch header.kind {
        case .tiff:
            let decoder = try TIFFDecoder(bytes, name: name, limits: limits, interrupted: interrupted)
            try checkSize(decoder.width, decoder.height)
            return try upright(decoder.rgb(), decoder.orientation, interrupted)
        case .bmp:
            return try BMPDecoder(ByteScan(bytes), name: name).rgb(interrupted: interrupted)
        default: break
        }
        try MediaLibrary.ffmpeg.require(for: name)
        let packet = try Packet(
            copying: header.firstFrame.map { UnsafeRawBufferPointer($0.file.elements) } ?? bytes, name: name)
        if let inks = header.inks {
            guard inks.isBlackFullSize else {
                throw LyraError(.unsupported, "\(name): a CMYK JPEG with subsampled black; convert it to RGB")
            }
            inks.hide(in: packet.bytes.bindMemory(to: UInt8.self))
        }
        if header.orientation == nil { header.exposeCompressedXMP(in: packet.bytes) }
        let decoded = try decode(packet.pointer, header: header, name: name, limits: limits)
        let picture = decoded.pointer.pointee
        try checkSize(Int(picture.width), Int(picture.height))
        if interrupted() { throw LyraError(.state, "\(name): interrupted") }
        let orientation = try header.orientation ?? rawProfile(decoded.pointer) ?? compressedXMP(decoded.pointer)
        let pixels = try StillConverter(
            frame: decoded.pointer, header: header, name: name, interrupted: interrupted
        ).rgb()
        return try upright(onCanvas(pixels, header: header), orientation, interrupted)
    }

    // MARK: - Reading

    private static func read(
        _ reader: any ByteReader, name: String, limits: MediaLimits, interrupted: () -> Bool
    ) throws -> GrowingBuffer<UInt8> {
        let piece = 1 << 20
        // A packet's size is an Int32, and libavcodec needs padding after the data.
        let limit = min(limits.imageBytes, Int(Int32.max) - 2 * piece)
        let stated = try reader.checkedSize(name: name)
        guard stated <= Int64(limit) else { throw tooManyBytes(name, limits) }
        // The stated size is only a hint: read to the end.
        let file = GrowingBuffer<UInt8>()
        while true {
            if interrupted() { throw LyraError(.state, "\(name): interrupted") }
            let filled = file.count
            let room = filled <= Int(stated) ? min(Int(stated) - filled + 1, 16 * piece) : piece
            guard (try? file.resize(to: filled + room)) != nil else {
                throw LyraError(.memory, "\(name): no memory for the encoded image")
            }
            let target = UnsafeMutableRawBufferPointer(UnsafeMutableBufferPointer(rebasing: file.elements[filled...]))
            let count = try reader.fill(target, from: Int64(filled), name: name)
            try file.resize(to: filled + count)
            guard file.count <= limit else { throw tooManyBytes(name, limits) }
            if count < room { return file }
        }
    }

    private static func tooManyBytes(_ name: String, _ limits: MediaLimits) -> LyraError {
        LyraError(
            .memory, "\(name): an encoded image of more than \(limits.imageBytes) bytes, the most that lyra reads")
    }

    private static func check(
        width: Int, height: Int, kind: ImageHeader.Kind, name: String, limits: MediaLimits
    ) throws {
        guard width > 0, height > 0 else {
            throw LyraError(.format, "\(name): a \(kind.rawValue) image of \(width) × \(height) pixels")
        }
        guard width <= RGBImage.longestSide, height <= RGBImage.longestSide, width * height <= limits.imagePixels else {
            throw LyraError(
                .memory,
                "\(name): a \(kind.rawValue) image of \(width) × \(height) pixels; limit_pixels allows "
                    + "\(limits.imagePixels) pixels, and a side may have \(RGBImage.longestSide)")
        }
    }

    // MARK: - Decoding

    private static func decode(
        _ packet: UnsafeMutablePointer<AVPacket>, header: ImageHeader, name: String, limits: MediaLimits
    ) throws -> Frame {
        guard let codec = header.codec else { throw LyraError(.unsupported, "\(name): \(header.kind.rawValue)") }
        let context = try CodecContext(codec, name: name) {
            $0.thread_count = 1
            $0.max_pixels = CodecContext.maxPixels(allowing: limits.imagePixels)
            // libjpeg's integer DCT, which most other decoders use, too.
            if header.kind == .jpeg { $0.idct_algo = FF_IDCT_INT }
        }
        let frame = try Frame()
        let status = context.send(packet)
        var result = context.receive(into: frame.pointer)
        if result != .frame, result != .noMemory, context.send(nil) >= 0 {
            result = context.receive(into: frame.pointer)
        }
        guard result == .frame else {
            let isMemory = result == .noMemory || status == lyra_av_no_memory()
            let reason =
                isMemory
                ? "no memory" : status < 0 ? MediaLog.reason(status) : "the data end before the image"
            throw LyraError(
                isMemory ? .memory : .format,
                "\(name): cannot be decoded as \(header.kind.rawValue): \(reason)")
        }
        return frame
    }

    /// The orientation in a PNG's "raw profile" text: EXIF data in hexadecimal digits, as old versions of ImageMagick
    /// wrote them.
    ///
    /// - Throws: `LyraError.memory` if there is no memory for the EXIF data.
    private static func rawProfile(_ frame: UnsafeMutablePointer<AVFrame>) throws -> Int? {
        for key in ["Raw profile type exif", "Raw profile type APP1"] {
            guard let entry = av_dict_get(frame.pointee.metadata, key, nil, 0), let value = entry.pointee.value else {
                continue
            }
            let bytes = try profile(UnsafeRawBufferPointer(start: value, count: strlen(value)))
            if let found = EXIF.orientation(ByteScan(UnsafeRawBufferPointer(bytes.elements))) { return found }
        }
        return nil
    }

    /// The orientation in a compressed XMP packet of a PNG.
    private static func compressedXMP(_ frame: UnsafeMutablePointer<AVFrame>) -> Int? {
        guard let entry = av_dict_get(frame.pointee.metadata, ImageHeader.xmpKey, nil, 0),
            let text = entry.pointee.value
        else { return nil }
        return XMP.orientation(ByteScan(UnsafeRawBufferPointer(start: text, count: strlen(text))))
    }

    /// Decodes a raw profile: a line with the name, a line with the length, then hexadecimal digits.
    private static func profile(_ text: UnsafeRawBufferPointer) throws -> GrowingBuffer<UInt8> {
        let bytes = GrowingBuffer<UInt8>()
        var rest = text.drop { $0 == UInt8(ascii: "\n") }
        for _ in 0..<2 { rest = rest.drop { $0 != UInt8(ascii: "\n") }.drop { $0 == UInt8(ascii: "\n") } }
        var high: UInt8?
        for letter in rest {
            guard let digit = Character(UnicodeScalar(letter)).hexDigitValue.map({ UInt8($0) }) else { continue }
            if let first = high { try bytes.append(first << 4 | digit) }
            high = high == nil ? digit : nil
        }
        return bytes
    }

    /// Draws the first frame of an animation onto its canvas.
    private static func onCanvas(_ pixels: RGBImage, header: ImageHeader) throws -> RGBImage {
        guard let frame = header.firstFrame, let (width, height) = header.size else { return pixels }
        return try canvas(width: width, height: height, with: pixels, x: frame.x, y: frame.y)
    }

    private static func upright(
        _ pixels: RGBImage, _ exif: Int?, _ interrupted: () -> Bool
    ) throws -> RGBImage {
        let orientation = exif.map(Orientation.init(exif:)) ?? .upright
        if orientation == .upright { return pixels }
        return try pixels.withPixels {
            try orientation.upright(
                $0, width: pixels.width, height: pixels.height, stride: pixels.width * 3, interrupted: interrupted)
        }
    }

    /// A white image with another image drawn onto it.
    private static func canvas(width: Int, height: Int, with part: RGBImage, x: Int, y: Int) throws -> RGBImage {
        try RGBImage(width: width, height: height) { target in
            target.update(repeating: 255, count: width * height * 3)
            let columns = min(part.width, width - x)
            guard columns > 0 else { return }
            part.withPixels { source in
                for row in 0..<max(0, min(part.height, height - y)) {
                    (target + ((y + row) * width + x) * 3)
                        .update(from: source + row * part.width * 3, count: columns * 3)
                }
            }
        }
    }
}
