import CFFmpeg
import Glibc
import LyraBase

/// A decoded JPEG or WebP in 8-bit Y'CbCr planes. It is converted to RGB as libjpeg or libwebp does.
///
/// JPEG: the triangle filter of libjpeg's "fancy upsampling", and full-range BT.601 in 16-bit fixed point (JFIF).
/// WebP: libwebp's filter, and limited-range BT.601 in 14-bit fixed point. Both filters interpolate chroma; libswscale
/// would repeat it.
struct YCbCrPicture {
    private let frame: UnsafeMutablePointer<AVFrame>
    private let isWebP: Bool
    private let width: Int
    private let height: Int
    /// log2 of the pixels for each chroma sample, horizontally and vertically.
    private let shiftX: Int
    private let shiftY: Int
    private let hasAlpha: Bool
    /// If not nil, the fourth plane is black and the others are inks.
    private let inks: JPEGInks?

    /// - Returns: nil for other image formats and pixel formats.
    init?(_ frame: UnsafeMutablePointer<AVFrame>, _ header: ImageHeader) {
        guard header.kind == .jpeg || header.kind == .webp else { return nil }
        let format = AVPixelFormat(rawValue: frame.pointee.format)
        switch format {
        case AV_PIX_FMT_YUVJ420P, AV_PIX_FMT_YUV420P, AV_PIX_FMT_YUVA420P: (shiftX, shiftY) = (1, 1)
        case AV_PIX_FMT_YUVJ422P, AV_PIX_FMT_YUV422P: (shiftX, shiftY) = (1, 0)
        case AV_PIX_FMT_YUVJ440P, AV_PIX_FMT_YUV440P: (shiftX, shiftY) = (0, 1)
        case AV_PIX_FMT_YUVJ411P, AV_PIX_FMT_YUV411P: (shiftX, shiftY) = (2, 0)
        case AV_PIX_FMT_YUVJ444P, AV_PIX_FMT_YUV444P, AV_PIX_FMT_YUVA444P: (shiftX, shiftY) = (0, 0)
        default: return nil
        }
        guard frame.pointee.data.0 != nil, frame.pointee.data.1 != nil, frame.pointee.data.2 != nil else { return nil }
        self.frame = frame
        isWebP = header.kind == .webp
        inks = header.inks
        guard inks == nil || frame.pointee.data.3 != nil else { return nil }
        hasAlpha = isWebP && format == AV_PIX_FMT_YUVA420P && frame.pointee.data.3 != nil
        width = Int(frame.pointee.width)
        height = Int(frame.pointee.height)
    }

    /// - Parameter check: Called with each row before it is converted.
    /// - Throws: What `check` throws, and `LyraError.memory`.
    func convert(into target: UnsafeMutablePointer<UInt8>, check: (Int) throws -> Void) throws {
        let rows = GrowingBuffer<UInt8>()
        try rows.resize(to: 2 * width + 8)
        try withExtendedLifetime(rows) {
            guard let first = rows.elements.baseAddress else { return }
            let (blue, red) = (first, first + width + 4)
            for row in 0..<height {
                try check(row)
                upsample(frame.pointee.data.1!, stride: Int(frame.pointee.linesize.1), row: row, into: blue)
                upsample(frame.pointee.data.2!, stride: Int(frame.pointee.linesize.2), row: row, into: red)
                let luma = UnsafePointer(frame.pointee.data.0! + row * Int(frame.pointee.linesize.0))
                let output = target + row * width * 3
                if let inks {
                    inkRow(inks, luma, blue, red, row, output)
                } else if isWebP {
                    webPRow(luma, blue, red, output)
                } else {
                    jpegRow(luma, blue, red, output)
                }
                if hasAlpha, let alpha = frame.pointee.data.3 {
                    StillConverter.blendOntoWhite(
                        output, width: width, alpha: alpha + row * Int(frame.pointee.linesize.3), step: 1)
                }
            }
        }
    }

    // MARK: - Chroma

    /// Upsamples one row of a chroma plane to the full width.
    private func upsample(
        _ plane: UnsafeMutablePointer<UInt8>, stride: Int, row: Int, into output: UnsafeMutablePointer<UInt8>
    ) {
        let columns = (width + (1 << shiftX) - 1) >> shiftX
        let rows = (height + (1 << shiftY) - 1) >> shiftY
        let nearRow = row >> shiftY
        // The second nearest chroma row; at the edges of the image, the nearest again.
        let farRow = shiftY == 0 ? nearRow : min(max(row & 1 == 0 ? nearRow - 1 : nearRow + 1, 0), rows - 1)
        let (near, far) = (UnsafePointer(plane + nearRow * stride), UnsafePointer(plane + farRow * stride))
        switch (shiftX, shiftY) {
        case (0, 0): output.update(from: near, count: columns)
        case (0, 1):
            // libjpeg's rounding: down in the upper of two rows, up in the lower.
            let bias = row & 1 == 0 ? 1 : 2
            for x in 0..<columns { output[x] = UInt8(truncatingIfNeeded: (Int(near[x]) * 3 + Int(far[x]) + bias) >> 2) }
        case (1, 1) where isWebP: webPSquare(near, far, columns, output)
        case (1, _) where columns > 2: jpegPair(near, far, columns, output)
        default: for x in 0..<width { output[x] = near[x >> shiftX] }
        }
    }

    /// libjpeg's h2v1 and h2v2 upsampling: 3/4 of the nearer and 1/4 of the farther sample, along rows and columns.
    private func jpegPair(
        _ near: UnsafePointer<UInt8>, _ far: UnsafePointer<UInt8>, _ columns: Int, _ output: UnsafeMutablePointer<UInt8>
    ) {
        let isSquare = shiftY == 1
        let (shift, left, right) = isSquare ? (4, 8, 7) : (2, 1, 2)
        func column(_ x: Int) -> Int { isSquare ? 3 * Int(near[x]) + Int(far[x]) : Int(near[x]) }
        let last = columns - 1
        var (before, here) = (column(0), column(0))
        for x in 0..<columns {
            let after = x < last ? column(x + 1) : here
            output[2 * x] = UInt8(truncatingIfNeeded: (3 * here + before + left) >> shift)
            if 2 * x + 1 < width { output[2 * x + 1] = UInt8(truncatingIfNeeded: (3 * here + after + right) >> shift) }
            (before, here) = (here, after)
        }
    }

    /// WebP's filter: (9·nearest + 3·beside + 3·below + opposite) / 16, rounded in two steps.
    private func webPSquare(
        _ near: UnsafePointer<UInt8>, _ far: UnsafePointer<UInt8>, _ columns: Int, _ output: UnsafeMutablePointer<UInt8>
    ) {
        func edge(_ x: Int) -> UInt8 { UInt8(truncatingIfNeeded: (3 * Int(near[x]) + Int(far[x]) + 2) >> 2) }
        output[0] = edge(0)
        for x in 1..<max(columns, 1) {
            let (nearLeft, nearRight) = (Int(near[x - 1]), Int(near[x]))
            let (farLeft, farRight) = (Int(far[x - 1]), Int(far[x]))
            let sum = nearLeft + nearRight + farLeft + farRight + 8
            let left = (sum + 2 * (nearRight + farLeft)) >> 3
            let right = (sum + 2 * (nearLeft + farRight)) >> 3
            output[2 * x - 1] = UInt8(truncatingIfNeeded: (left + nearLeft) >> 1)
            output[2 * x] = UInt8(truncatingIfNeeded: (right + nearRight) >> 1)
        }
        if width & 1 == 0 { output[width - 1] = edge(columns - 1) }
    }

    // MARK: - Color

    /// R = Y + 1.402 Cr, G = Y - 0.34414 Cb - 0.71414 Cr, B = Y + 1.772 Cb, in 16-bit fixed point.
    private func jpegRow(
        _ luma: UnsafePointer<UInt8>, _ blue: UnsafePointer<UInt8>, _ red: UnsafePointer<UInt8>,
        _ output: UnsafeMutablePointer<UInt8>
    ) {
        for x in 0..<width {
            let y = Int32(luma[x])
            let (cb, cr) = (Int32(blue[x]) - 128, Int32(red[x]) - 128)
            let pixel = output + 3 * x
            pixel[0] = Self.clamp(y &+ (91_881 &* cr &+ 32_768) >> 16)
            pixel[1] = Self.clamp(y &+ (-22_554 &* cb &- 46_802 &* cr &+ 32_768) >> 16)
            pixel[2] = Self.clamp(y &+ (116_130 &* cb &+ 32_768) >> 16)
        }
    }

    /// Converts inverted inks. YCCK codes cyan, magenta and yellow as Y'CbCr, not inverted.
    private func inkRow(
        _ inks: JPEGInks, _ first: UnsafePointer<UInt8>, _ second: UnsafePointer<UInt8>, _ third: UnsafePointer<UInt8>,
        _ row: Int, _ output: UnsafeMutablePointer<UInt8>
    ) {
        guard let black = frame.pointee.data.3.map({ $0 + row * Int(frame.pointee.linesize.3) }) else { return }
        if inks.isYCCK { jpegRow(first, second, third, output) }
        for x in 0..<width {
            let pixel = output + 3 * x
            let colors =
                inks.isYCCK
                ? (pixel[0], pixel[1], pixel[2]) : (255 - first[x], 255 - second[x], 255 - third[x])
            CMYK.convert(colors, black: 255 - black[x], to: pixel)
        }
    }

    /// Limited-range BT.601 in 14-bit fixed point; products are truncated to 6 bits of fraction before they are summed.
    private func webPRow(
        _ luma: UnsafePointer<UInt8>, _ blue: UnsafePointer<UInt8>, _ red: UnsafePointer<UInt8>,
        _ output: UnsafeMutablePointer<UInt8>
    ) {
        for x in 0..<width {
            let y = (Int32(luma[x]) &* 19_077) >> 8
            let (cb, cr) = (Int32(blue[x]), Int32(red[x]))
            let pixel = output + 3 * x
            pixel[0] = Self.clamp((y &+ (cr &* 26_149) >> 8 &- 14_234) >> 6)
            pixel[1] = Self.clamp((y &- (cb &* 6_419) >> 8 &- (cr &* 13_320) >> 8 &+ 8_708) >> 6)
            pixel[2] = Self.clamp((y &+ (cb &* 33_050) >> 8 &- 17_685) >> 6)
        }
    }

    @inline(__always) private static func clamp(_ value: Int32) -> UInt8 {
        UInt8(truncatingIfNeeded: min(max(value, 0), 255))
    }
}
