import LyraBase

/// What lyra wants of EXIF data, which are a TIFF's: which way up the picture is.
enum EXIF {
    private static let orientationTag = 0x0112

    /// The stated orientation; nil if there is none or the data are damaged.
    /// - Parameter data: From the byte-order mark on, or from "Exif" and two zeros before it.
    static func orientation(_ data: ByteScan) -> Int? {
        let tiff = data.has("Exif\0\0", at: 0) ? data.section(6, data.bytes.count) : data
        guard let directory = TIFFDirectory(tiff), let entry = directory.entry(orientationTag), entry.count == 1 else {
            return nil
        }
        return entry.firstInteger
    }
}

/// The first directory of a TIFF or a BigTIFF (TIFF 6.0, section 2), of any byte order.
struct TIFFDirectory {
    struct Entry {
        let count: Int
        /// The first value, if it is an integer of any type.
        let firstInteger: Int?
    }

    private let tiff: ByteScan
    private let isBigEndian: Bool
    private let isBigTIFF: Bool
    private let first: Int
    private let count: Int

    init?(_ tiff: ByteScan) {
        guard let mark = tiff.big16(0), mark == 0x4949 || mark == 0x4d4d else { return nil }
        let big = mark == 0x4d4d
        let version = tiff.integer(2, 2, big: big)
        guard version == 42 || version == 43 else { return nil }
        let isBigTIFF = version == 43
        guard let start = isBigTIFF ? Self.integer64(tiff, 8, big) : tiff.integer(4, 4, big: big),
            start <= tiff.bytes.count,
            let count = isBigTIFF ? Self.integer64(tiff, start, big) : tiff.integer(start, 2, big: big)
        else { return nil }
        self.tiff = tiff
        isBigEndian = big
        self.isBigTIFF = isBigTIFF
        first = start + (isBigTIFF ? 8 : 2)
        self.count = count
    }

    func entry(_ wanted: Int) -> Entry? {
        let size = isBigTIFF ? 20 : 12
        // Those that the bytes have room for.
        for index in 0..<min(count, tiff.bytes.count / size) {
            let offset = first + index * size
            guard let tag = tiff.integer(offset, 2, big: isBigEndian) else { return nil }
            guard tag == wanted else { continue }
            guard let type = tiff.integer(offset + 2, 2, big: isBigEndian), let count = pointer(offset + 4) else {
                return nil
            }
            return Entry(count: count, firstInteger: value(type, count, at: offset + (isBigTIFF ? 12 : 8)))
        }
        return nil
    }

    /// BYTE, SHORT, LONG and LONG8, each with its signed twin, and IFD, an offset; in place, or where the entry points
    /// to.
    private func value(_ type: Int, _ count: Int, at offset: Int) -> Int? {
        let widths = [1: 1, 3: 2, 4: 4, 6: 1, 8: 2, 9: 4, 13: 4, 16: 8, 17: 8]
        guard let width = widths[type], count > 0 else { return nil }
        let room = isBigTIFF ? 8 : 4
        let isInPlace = count <= room / width
        guard let place = isInPlace ? offset : pointer(offset) else { return nil }
        if width == 8 { return Self.integer64(tiff, place, isBigEndian) }
        guard let value = tiff.integer(place, width, big: isBigEndian) else { return nil }
        let isSigned = type == 6 || type == 8 || type == 9
        return isSigned && value >> (8 * width - 1) == 1 ? value - 1 << (8 * width) : value
    }

    /// A count or an offset, whose width depends on the kind of TIFF.
    private func pointer(_ offset: Int) -> Int? {
        isBigTIFF ? Self.integer64(tiff, offset, isBigEndian) : tiff.integer(offset, 4, big: isBigEndian)
    }

    /// Eight bytes; nil if they are no Int.
    private static func integer64(_ scan: ByteScan, _ offset: Int, _ big: Bool) -> Int? {
        guard let low = scan.integer(big ? offset + 4 : offset, 4, big: big),
            let high = scan.integer(big ? offset : offset + 4, 4, big: big), high < 1 << 31
        else { return nil }
        return high << 32 | low
    }
}

/// What lyra wants of an XMP packet: `tiff:Orientation`, as an attribute or as an element.
enum XMP {
    static func orientation(_ packet: ByteScan) -> Int? {
        let name = Array("tiff:Orientation".utf8)
        let bytes = packet.bytes
        var offset = 0
        while offset + name.count < bytes.count {
            guard bytes[offset] == name[0], packet.section(offset, name.count).bytes.elementsEqual(name) else {
                offset += 1
                continue
            }
            offset += name.count
            if let value = value(bytes[offset...]) { return value }
        }
        return nil
    }

    /// What follows the name: `="6"`, or `>6`, with any white space between.
    private static func value(_ rest: Slice<UnsafeRawBufferPointer>) -> Int? {
        var rest = rest.drop { isSpace($0) }
        switch rest.popFirst() {
        case UInt8(ascii: ">"): break
        case UInt8(ascii: "="):
            rest = rest.drop { isSpace($0) }
            let quote = rest.popFirst()
            guard quote == UInt8(ascii: "\"") || quote == UInt8(ascii: "'") else { return nil }
        default: return nil
        }
        let digits = rest.drop { isSpace($0) }.prefix(3).prefix { UInt8(ascii: "0")...UInt8(ascii: "9") ~= $0 }
        return digits.isEmpty ? nil : digits.reduce(0) { $0 * 10 + Int($1 - UInt8(ascii: "0")) }
    }

    private static func isSpace(_ byte: UInt8) -> Bool { byte == 0x20 || 0x09...0x0d ~= byte }
}
