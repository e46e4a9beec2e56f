import CFFmpeg
import LyraBase

/// Converts a decoded image to 8-bit RGB, exactly where the pixel format allows it.
///
/// Transparent pixels are blended onto white. Y'CbCr of JPEG and WebP is converted as libjpeg and libwebp do.
struct StillConverter {
    private let frame: UnsafeMutablePointer<AVFrame>
    private let header: ImageHeader
    private let name: String
    private let interrupted: () -> Bool
    private let format: AVPixelFormat
    private let width: Int
    private let height: Int

    /// - Parameter interrupted: Polled every few rows; true ends the conversion with `LyraError(.state)`.
    init(
        frame: UnsafeMutablePointer<AVFrame>, header: ImageHeader, name: String,
        interrupted: @escaping () -> Bool = { false }
    ) {
        self.frame = frame
        self.header = header
        self.name = name
        self.interrupted = interrupted
        format = AVPixelFormat(rawValue: frame.pointee.format)
        width = Int(frame.pointee.width)
        height = Int(frame.pointee.height)
    }

    /// - Throws: `LyraError(.memory)`, or `.unsupported` if the pixel format cannot be converted.
    func rgb() throws -> RGBImage {
        if format == AV_PIX_FMT_PAL8 { return try palette() }
        if format == AV_PIX_FMT_MONOBLACK || format == AV_PIX_FMT_MONOWHITE { return try bits() }
        if let picture = YCbCrPicture(frame, header) {
            return try RGBImage(width: width, height: height) { target in
                try picture.convert(into: target) { try check($0) }
            }
        }
        if let components = components() { return try interleave(components) }
        return try FrameScaler(width: width, height: height, name: name).convert(frame, orientation: .upright)
    }

    private func check(_ row: Int) throws {
        if row & 15 == 0, interrupted() { throw LyraError(.state, "\(name): interrupted") }
    }

    /// R, G, B or alpha: the address of the first pixel's (high) byte, and the bytes to the next pixel and row.
    private struct Component {
        let base: UnsafeMutablePointer<UInt8>
        let step: Int
        let stride: Int
    }

    /// R, G, B and, if present, alpha, of RGB and gray formats with 8 or 16 bits; nil for other formats.
    private func components() -> [Component]? {
        guard let descriptor = av_pix_fmt_desc_get(format)?.pointee else { return nil }
        let isRGB = descriptor.flags & UInt64(AV_PIX_FMT_FLAG_RGB) != 0
        let hasAlpha = descriptor.flags & UInt64(AV_PIX_FMT_FLAG_ALPHA) != 0
        let refused = UInt64(
            AV_PIX_FMT_FLAG_BITSTREAM | AV_PIX_FMT_FLAG_PAL | AV_PIX_FMT_FLAG_FLOAT | AV_PIX_FMT_FLAG_HWACCEL)
        guard descriptor.flags & refused == 0,
            Int(descriptor.nb_components) == (isRGB ? 3 : 1) + (hasAlpha ? 1 : 0)
        else { return nil }
        let isBig = descriptor.flags & UInt64(AV_PIX_FMT_FLAG_BE) != 0
        let all = [descriptor.comp.0, descriptor.comp.1, descriptor.comp.2, descriptor.comp.3]
        let found = all.prefix(Int(descriptor.nb_components)).compactMap { component -> Component? in
            guard component.shift == 0, component.depth == 8 || component.depth == 16,
                let plane = plane(Int(component.plane))
            else { return nil }
            let high = component.depth == 16 && !isBig ? 1 : 0
            return Component(
                base: plane.base + Int(component.offset) + high, step: Int(component.step), stride: plane.stride)
        }
        guard found.count == Int(descriptor.nb_components) else { return nil }
        return isRGB ? found : Array(repeating: found[0], count: 3) + found.dropFirst()
    }

    private func plane(_ index: Int) -> (base: UnsafeMutablePointer<UInt8>, stride: Int)? {
        let data = [frame.pointee.data.0, frame.pointee.data.1, frame.pointee.data.2, frame.pointee.data.3]
        let strides = [
            frame.pointee.linesize.0, frame.pointee.linesize.1, frame.pointee.linesize.2, frame.pointee.linesize.3,
        ]
        guard data.indices.contains(index), let base = data[index] else { return nil }
        return (base, Int(strides[index]))
    }

    private func interleave(_ components: [Component]) throws -> RGBImage {
        try RGBImage(width: width, height: height) { target in
            for row in 0..<height {
                try check(row)
                let output = target + row * width * 3
                for channel in 0..<3 {
                    let component = components[channel]
                    var source = component.base + row * component.stride
                    var pixel = output + channel
                    for _ in 0..<width {
                        pixel.pointee = source.pointee
                        pixel += 3
                        source += component.step
                    }
                }
                if let clear = header.transparentGray {
                    for value in output..<output + width * 3 where value.pointee == clear { value.pointee = 255 }
                }
                guard components.count == 4 else { continue }
                let alpha = components[3]
                Self.blendOntoWhite(output, width: width, alpha: alpha.base + row * alpha.stride, step: alpha.step)
            }
        }
    }

    /// Blends pixels onto white: c·a/255 + 255·(255 - a)/255, rounded, in integers.
    static func blendOntoWhite(
        _ pixels: UnsafeMutablePointer<UInt8>, width: Int, alpha: UnsafePointer<UInt8>, step: Int
    ) {
        var pixel = pixels
        var alpha = alpha
        for _ in 0..<width {
            let share = UInt32(alpha.pointee)
            if share < 255 {
                for channel in 0..<3 { pixel[channel] = blend(pixel[channel], share) }
            }
            pixel += 3
            alpha += step
        }
    }

    private static func blend(_ value: UInt8, _ share: UInt32) -> UInt8 {
        let sum = UInt32(value) * share + 255 * (255 - share) + 128
        return UInt8(truncatingIfNeeded: (sum + (sum >> 8)) >> 8)
    }

    private func palette() throws -> RGBImage {
        guard let indices = plane(0), let colors = plane(1) else {
            throw LyraError(.format, "\(name): an image without its palette")
        }
        // Each color is a native 32-bit word, 0xAARRGGBB.
        let table = colors.base.withMemoryRebound(to: UInt32.self, capacity: 256) { colors in
            (0..<256).map { index in
                let (color, share) = (colors[index], colors[index] >> 24)
                return [16, 8, 0].map { Self.blend(UInt8(truncatingIfNeeded: color >> UInt32($0)), share) }
            }
        }.flatMap { $0 }
        return try RGBImage(width: width, height: height) { target in
            try table.withUnsafeBufferPointer { table in
                for row in 0..<height {
                    try check(row)
                    for column in 0..<width {
                        let color = Int(indices.base[row * indices.stride + column]) * 3
                        for channel in 0..<3 { target[(row * width + column) * 3 + channel] = table[color + channel] }
                    }
                }
            }
        }
    }

    /// One bit for each pixel, the highest bit first.
    private func bits() throws -> RGBImage {
        guard let plane = plane(0) else { throw LyraError(.format, "\(name): an image without pixels") }
        let flip: UInt8 = format == AV_PIX_FMT_MONOWHITE ? 0xff : 0
        // A transparent gray shows the white background.
        let values: [UInt8] = [header.transparentGray == 0 ? 255 : 0, 255]
        return try RGBImage(width: width, height: height) { target in
            for row in 0..<height {
                try check(row)
                for column in 0..<width {
                    let byte = plane.base[row * plane.stride + column / 8] ^ flip
                    let bit = Int(byte >> (7 - UInt8(column % 8)) & 1)
                    (target + (row * width + column) * 3).update(repeating: values[bit], count: 3)
                }
            }
        }
    }
}
