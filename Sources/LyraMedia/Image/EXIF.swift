/// What lyra wants of EXIF data, which are a TIFF's: which way up the picture is.
enum EXIF {
    private static let orientationTag = 0x0112

    private static let compressionTag = 0x0103

    /// The orientation; upright if there is none or the data are damaged.
    /// - Parameter tiff: From the byte-order mark on.
    static func orientation(_ tiff: ByteScan) -> Orientation {
        value(of: orientationTag, in: tiff).map(Orientation.init(exif:)) ?? .upright
    }

    /// Whether a TIFF holds JPEG data.
    static func holdsJPEG(_ tiff: ByteScan) -> Bool {
        value(of: compressionTag, in: tiff).map { (6...7).contains($0) } ?? false
    }

    /// A 16-bit value of the first directory (TIFF 6.0, section 2).
    private static func value(of wanted: Int, in tiff: ByteScan) -> Int? {
        guard let mark = tiff.big16(0), mark == 0x4949 || mark == 0x4d4d else { return nil }
        let big = mark == 0x4d4d
        guard tiff.integer(2, 2, big: big) == 42, let start = tiff.integer(4, 4, big: big),
            let count = tiff.integer(start, 2, big: big)
        else { return nil }
        for entry in 0..<count {
            let offset = start + 2 + entry * 12
            guard let tag = tiff.integer(offset, 2, big: big) else { break }
            if tag == wanted { return tiff.integer(offset + 8, 2, big: big) }
        }
        return nil
    }
}
