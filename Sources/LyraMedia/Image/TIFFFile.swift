import CTIFF
import Glibc
import LyraBase

/// A TIFF in memory, opened with libtiff. All calls of libtiff are in this file.
///
/// The bytes must outlive the object. libtiff prints nothing, and the process's own libtiff handlers stay.
final class TIFFFile {
    private let name: String
    private let client: Client
    private let file: OpaquePointer

    /// - Parameter allocationLimit: The most bytes of one allocation of libtiff.
    /// - Throws: `LyraError(.format)` if the first directory cannot be read, `.memory`, `.missing` without libtiff.
    init(_ bytes: UnsafeRawBufferPointer, name: String, allocationLimit: Int) throws {
        self.name = name
        try MediaLibrary.tiff.require(for: name)
        client = Client(bytes)
        let handle = Unmanaged.passUnretained(client).toOpaque()
        guard let options = TIFFOpenOptionsAlloc() else { throw LyraError(.memory, "\(name): no memory for a decoder") }
        defer { TIFFOpenOptionsFree(options) }
        TIFFOpenOptionsSetMaxSingleMemAlloc(options, tmsize_t(allocationLimit))
        // After a handler that returns 1, libtiff does not call the process's own handler.
        TIFFOpenOptionsSetErrorHandlerExtR(
            options,
            { _, client, _, format, arguments in
                if let arguments { Client.of(client)?.fail(format, arguments) }
                return 1
            }, handle)
        TIFFOpenOptionsSetWarningHandlerExtR(options, { _, _, _, _, _ in 1 }, nil)
        let opened = TIFFClientOpenExt(
            name, "r", handle,
            { client, target, count in tmsize_t(Client.of(client)?.read(target, Int(count)) ?? -1) },
            { _, _, _ in -1 },
            { client, offset, whence in Client.of(client)?.seek(offset, whence) ?? UInt64.max },
            { _ in 0 },
            { client in UInt64(Client.of(client)?.bytes.count ?? 0) },
            { client, base, size in
                guard let client = Client.of(client), let base, let size else { return 0 }
                base.pointee = UnsafeMutableRawPointer(mutating: client.bytes.baseAddress)
                size.pointee = UInt64(client.bytes.count)
                return 1
            },
            { _, _, _ in }, options)
        guard let opened else { throw client.error(name, "cannot be read as TIFF") }
        file = opened
    }

    deinit { TIFFClose(file) }

    /// The stream that libtiff reads, and libtiff's first error since the last call of `error`.
    private final class Client {
        let bytes: UnsafeRawBufferPointer
        private var position = 0
        private var failure: String?

        init(_ bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

        static func of(_ handle: UnsafeMutableRawPointer?) -> Client? {
            handle.map { Unmanaged<Client>.fromOpaque($0).takeUnretainedValue() }
        }

        func read(_ target: UnsafeMutableRawPointer?, _ wanted: Int) -> Int {
            let count = min(wanted, bytes.count - position)
            guard let target, let base = bytes.baseAddress, count > 0 else { return 0 }
            target.copyMemory(from: base + position, byteCount: count)
            position += count
            return count
        }

        func seek(_ offset: UInt64, _ whence: Int32) -> UInt64 {
            let start = whence == SEEK_CUR ? position : whence == SEEK_END ? bytes.count : 0
            // libtiff passes negative offsets as large unsigned numbers.
            guard let target = start.checkedAdding(Int(truncatingIfNeeded: offset)), target >= 0 else {
                return UInt64.max
            }
            position = min(target, bytes.count)
            return UInt64(target)
        }

        func fail(_ format: UnsafePointer<CChar>?, _ arguments: CVaListPointer) {
            guard failure == nil, let format else { return }
            failure = withUnsafeTemporaryAllocation(of: CChar.self, capacity: 256) { buffer in
                buffer.initialize(repeating: 0)
                guard let base = buffer.baseAddress, vsnprintf(base, buffer.count, format, arguments) >= 0 else {
                    return nil
                }
                return String(cString: base)
            }
        }

        func error(_ name: String, _ what: String) -> LyraError {
            defer { failure = nil }
            return LyraError(.format, "\(name): \(what): \(failure ?? "damaged data")")
        }
    }

    // MARK: - Tags

    enum Tag: Int {
        case width = 256, height = 257, bitsPerSample = 258, compression = 259, photometric = 262, orientation = 274
        case samplesPerPixel = 277, rowsPerStrip = 278, planar = 284, colorMap = 320, tileWidth = 322, tileHeight = 323
        case inkSet = 332, extraSamples = 338, sampleFormat = 339, xmp = 700, subsampling = 530
    }

    /// The 16-bit value of a tag, or the specification's default if the file lacks the tag; nil if there is no default.
    func short(_ tag: Tag) -> Int? {
        var value: UInt16 = 0
        let found = withUnsafeMutablePointer(to: &value) { value in
            withVaList([value]) { TIFFVGetFieldDefaulted(file, UInt32(tag.rawValue), $0) }
        }
        return found == 1 ? Int(value) : nil
    }

    /// The 16-bit value of a tag; nil if the file lacks the tag.
    func statedShort(_ tag: Tag) -> Int? {
        var value: UInt16 = 0
        let found = withUnsafeMutablePointer(to: &value) { value in
            withVaList([value]) { TIFFVGetField(file, UInt32(tag.rawValue), $0) }
        }
        return found == 1 ? Int(value) : nil
    }

    /// The 32-bit value of a tag, or the specification's default; nil if there is neither.
    func long(_ tag: Tag) -> Int? {
        var value: UInt32 = 0
        let found = withUnsafeMutablePointer(to: &value) { value in
            withVaList([value]) { TIFFVGetFieldDefaulted(file, UInt32(tag.rawValue), $0) }
        }
        return found == 1 ? Int(value) : nil
    }

    /// The types of the samples after the colors (tag `ExtraSamples`).
    func extraSamples() -> [Int] {
        var count: UInt16 = 0
        var values: UnsafeMutablePointer<UInt16>?
        let found = withUnsafeMutablePointer(to: &count) { count in
            withUnsafeMutablePointer(to: &values) { values in
                withVaList([count, values]) { TIFFVGetFieldDefaulted(file, UInt32(Tag.extraSamples.rawValue), $0) }
            }
        }
        guard found == 1, let values else { return [] }
        return (0..<Int(count)).map { Int(values[$0]) }
    }

    /// Red, green and blue of a palette of `count` colors, 16 bits each.
    func colorMap(_ count: Int) -> [[UInt16]]? {
        var red: UnsafeMutablePointer<UInt16>?
        var green: UnsafeMutablePointer<UInt16>?
        var blue: UnsafeMutablePointer<UInt16>?
        let found = withUnsafeMutablePointer(to: &red) { red in
            withUnsafeMutablePointer(to: &green) { green in
                withUnsafeMutablePointer(to: &blue) { blue in
                    withVaList([red, green, blue]) { TIFFVGetField(file, UInt32(Tag.colorMap.rawValue), $0) }
                }
            }
        }
        guard found == 1, let red, let green, let blue else { return nil }
        return [red, green, blue].map { (channel: UnsafeMutablePointer<UInt16>) in
            Array(UnsafeBufferPointer(start: channel, count: count))
        }
    }

    /// Calls `body` with the XMP packet, if there is one.
    func withXMP<R>(_ body: (ByteScan) -> R?) -> R? {
        var count: UInt32 = 0
        var packet: UnsafeMutableRawPointer?
        let found = withUnsafeMutablePointer(to: &count) { count in
            withUnsafeMutablePointer(to: &packet) { packet in
                withVaList([count, packet]) { TIFFVGetField(file, UInt32(Tag.xmp.rawValue), $0) }
            }
        }
        guard found == 1, let packet else { return nil }
        return body(ByteScan(UnsafeRawBufferPointer(start: packet, count: Int(count))))
    }

    /// Whether the installed libtiff can decode the compression.
    func decodes(compression: Int) -> Bool { TIFFIsCODECConfigured(UInt16(truncatingIfNeeded: compression)) == 1 }

    var isTiled: Bool { TIFFIsTiled(file) != 0 }

    /// Makes libtiff return JPEG data as RGB, with upsampled chroma.
    func setJPEGToRGB() { withVaList([Int32(1)]) { _ = TIFFVSetField(file, 65_538, $0) } }

    /// Keeps libtiff's conversion to RGB from turning the image.
    func clearOrientation() { withVaList([Int32(1)]) { _ = TIFFVSetField(file, UInt32(Tag.orientation.rawValue), $0) } }

    // MARK: - Pixels

    /// Bytes of a decoded row of an image without tiles: of all samples or, if samples are planar, of one.
    var rowBytes: Int { Int(clamping: TIFFScanlineSize64(file)) }

    /// Bytes of a decoded tile.
    var tileBytes: Int { Int(clamping: TIFFTileSize64(file)) }

    /// Decodes a row. Fast only for rows in order. `sample` is the plane of planar samples.
    func readRow(_ row: Int, sample: Int, into target: UnsafeMutableRawPointer) throws {
        guard TIFFReadScanline(file, target, UInt32(row), UInt16(sample)) == 1 else {
            throw client.error(name, "row \(row) of the TIFF cannot be decoded")
        }
    }

    /// Decodes the tile that contains the pixel (x, y).
    func readTile(x: Int, y: Int, sample: Int, into target: UnsafeMutableRawPointer) throws {
        guard TIFFReadTile(file, target, UInt32(x), UInt32(y), 0, UInt16(sample)) >= 0 else {
            throw client.error(name, "the TIFF's tile at (\(x), \(y)) cannot be decoded")
        }
    }

    /// Decodes the strip that begins with row y, or the tile at (x, y), to words 0xAABBGGRR, the bottom row first.
    func readRGBA(x: Int, y: Int, into target: UnsafeMutablePointer<UInt32>) throws {
        let status =
            isTiled
            ? TIFFReadRGBATileExt(file, UInt32(x), UInt32(y), target, 1)
            : TIFFReadRGBAStripExt(file, UInt32(y), target, 1)
        guard status == 1 else { throw client.error(name, "the TIFF's pixels at (\(x), \(y)) cannot be decoded") }
    }
}
