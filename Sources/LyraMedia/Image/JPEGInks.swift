import LyraBase

/// A JPEG of four components: printing inks, as Adobe's programs write them, all four inverted.
///
/// libavcodec multiplies inks with black, and rounds down, if Adobe's segment or the names of the components say that
/// they are inks. Neither does here: then it gives all four planes as they are stored.
struct JPEGInks {
    /// Whether cyan, magenta and yellow are coded as Y'CbCr.
    let isYCCK: Bool
    /// Whether black has as many samples as the first component; libavcodec misreads others.
    let isBlackWhole: Bool
    /// Where Adobe's segment says how the colours are coded, if there is such a segment.
    private let transformOffset: Int?
    /// Where the frame header says what black is called.
    private let blackOffset: Int
    private let areNamed: Bool

    /// - Parameter frame: Where the frame header's data begin, in a file of four components.
    init?(_ scan: ByteScan, frame: Int, transformOffset: Int?, isYCCK: Bool) {
        let components = scan.section(frame + 6, 12).bytes
        guard components.count == 12 else { return nil }
        areNamed = stride(from: 0, to: 12, by: 3).map { components[$0] }.elementsEqual("CMYK".utf8)
        isBlackWhole = components[1] == components[10]
        blackOffset = frame + 6 + 9
        self.transformOffset = transformOffset
        self.isYCCK = isYCCK
    }

    /// Changes what makes libavcodec multiply: the file is otherwise the same.
    func hide(in data: UnsafeMutableBufferPointer<UInt8>) {
        // Neither inks (0) nor YCCK (2).
        if let transformOffset, transformOffset < data.count { data[transformOffset] = 1 }
        guard areNamed, blackOffset < data.count else { return }
        let (black, other) = (UInt8(ascii: "K"), UInt8(ascii: "X"))
        data[blackOffset] = other
        // Each scan names its components; 0xff 0xda is no part of coded data.
        for offset in blackOffset..<max(blackOffset, data.count - 5)
        where data[offset] == 0xff && data[offset + 1] == 0xda {
            for place in 0..<min(Int(data[offset + 4]), 4) {
                let name = offset + 5 + 2 * place
                if name < data.count, data[name] == black { data[name] = other }
            }
        }
    }
}

/// The plain conversion of printing inks to RGB that Pillow and browsers use without a profile: (1 - ink) · (1 -
/// black).
enum CMYK {
    @inline(__always)
    static func convert(_ colors: (UInt8, UInt8, UInt8), black: UInt8, to pixel: UnsafeMutablePointer<UInt8>) {
        let rest = 255 - Int(black)
        func share(_ ink: UInt8) -> UInt8 {
            let product = Int(ink) * rest + 128
            return UInt8(truncatingIfNeeded: max(0, rest - (product + product >> 8) >> 8))
        }
        (pixel[0], pixel[1], pixel[2]) = (share(colors.0), share(colors.1), share(colors.2))
    }
}
