import LyraBase

/// The components of a CMYK or YCCK JPEG: printing inks, all four inverted, as Adobe's programs write them.
///
/// If Adobe's segment or the component names declare inks, libavcodec multiplies the inks with black and rounds down.
/// `hide` removes these declarations, so that libavcodec returns all four planes as they are stored.
struct JPEGInks {
    /// Whether cyan, magenta and yellow are coded as Y'CbCr.
    let isYCCK: Bool
    /// Whether black has as many samples as the first component. libavcodec decodes subsampled black wrongly.
    let isBlackFullSize: Bool
    /// The offset of the color transform in Adobe's segment, if there is such a segment.
    private let transformOffset: Int?
    /// The offset of black's component name in the frame header.
    private let blackOffset: Int
    /// Whether the components are named C, M, Y and K.
    private let hasInkNames: Bool

    /// - Parameter frame: Where the frame header's data begin, in a file of four components.
    init?(_ scan: ByteScan, frame: Int, transformOffset: Int?, isYCCK: Bool) {
        let components = scan.section(frame + 6, 12).bytes
        guard components.count == 12 else { return nil }
        hasInkNames = stride(from: 0, to: 12, by: 3).map { components[$0] }.elementsEqual("CMYK".utf8)
        isBlackFullSize = components[1] == components[10]
        blackOffset = frame + 6 + 9
        self.transformOffset = transformOffset
        self.isYCCK = isYCCK
    }

    /// Changes the declarations of inks in the file; the coded data stay the same.
    func hide(in data: UnsafeMutableBufferPointer<UInt8>) {
        // Neither inks (0) nor YCCK (2).
        if let transformOffset, transformOffset < data.count { data[transformOffset] = 1 }
        guard hasInkNames, blackOffset < data.count else { return }
        let (black, other) = (UInt8(ascii: "K"), UInt8(ascii: "X"))
        data[blackOffset] = other
        // Each scan header names its components. The marker 0xff 0xda never occurs in coded data.
        for offset in blackOffset..<max(blackOffset, data.count - 5)
        where data[offset] == 0xff && data[offset + 1] == 0xda {
            for place in 0..<min(Int(data[offset + 4]), 4) {
                let name = offset + 5 + 2 * place
                if name < data.count, data[name] == black { data[name] = other }
            }
        }
    }
}

/// Converts printing inks to RGB as Pillow and browsers do without a color profile: (1 - ink) · (1 - black).
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
