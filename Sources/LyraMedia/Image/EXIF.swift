import LyraBase

/// Reads the orientation of an image from EXIF data, which have the structure of a TIFF.
enum EXIF {
    private static let orientationTag = 0x0112

    /// The orientation tag; nil if the data lack it or are damaged.
    ///
    /// - Parameter data: Begins with the byte-order mark, or with "Exif" and two zeros before that.
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
        // A damaged count may claim more entries than the bytes can hold.
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

    /// The first value of type BYTE, SHORT, LONG, LONG8, their signed forms, or IFD (an offset). It is stored in the
    /// entry or, if the entry is too small, at the offset in the entry.
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

    /// An integer of eight bytes; nil if it does not fit an Int.
    private static func integer64(_ scan: ByteScan, _ offset: Int, _ big: Bool) -> Int? {
        guard let low = scan.integer(big ? offset + 4 : offset, 4, big: big),
            let high = scan.integer(big ? offset : offset + 4, 4, big: big), high < 1 << 31
        else { return nil }
        return high << 32 | low
    }
}

/// Reads `tiff:Orientation`, an attribute or an element, from an XMP packet.
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

    /// The value after the name: `="6"` or `>6`, with optional white space.
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
