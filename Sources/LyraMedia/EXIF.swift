/// The one thing that lyra wants of EXIF data: which way up the picture is.
enum EXIF {
    private static let orientationTag = 0x0112

    /// Reads the orientation of the first directory (TIFF 6.0, section 2); upright if there is none or it is damaged.
    /// - Parameter tiff: From the byte-order mark on.
    static func orientation(_ tiff: ByteScan) -> Orientation {
        guard let mark = tiff.big16(0), mark == 0x4949 || mark == 0x4d4d else { return .upright }
        let big = mark == 0x4d4d
        guard tiff.integer(2, 2, big: big) == 42, let start = tiff.integer(4, 4, big: big),
            let count = tiff.integer(start, 2, big: big)
        else { return .upright }
        for entry in 0..<count {
            let offset = start + 2 + entry * 12
            guard let tag = tiff.integer(offset, 2, big: big) else { break }
            if tag == orientationTag, let value = tiff.integer(offset + 8, 2, big: big) {
                return Orientation(exif: value)
            }
        }
        return .upright
    }
}
