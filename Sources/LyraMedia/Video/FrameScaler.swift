import CFFmpeg
import LyraBase

/// Converts decoded frames of any pixel format to RGB with libswscale.
///
/// The declared range and matrix are used. Without them, a frame is taken for limited-range BT.601, as in libswscale
/// and the video readers based on it (decord, torchvision, PyAV).
final class FrameScaler {
    private var context: OpaquePointer?
    private let target: Frame
    /// The source format that `context` converts.
    private var source = SourceFormat()

    private struct SourceFormat: Equatable {
        var format: AVPixelFormat = AV_PIX_FMT_NONE
        var width: Int32 = 0
        var height: Int32 = 0
        var isFullRange = false
        var matrix: Int32 = 0
    }

    private let width: Int
    private let height: Int
    private let name: String

    /// - Parameters:
    ///   - width: The width of the RGB images; frames of other sizes are scaled.
    /// - Throws: `LyraError(.memory)`.
    init(width: Int, height: Int, name: String) throws {
        self.width = width
        self.height = height
        self.name = name
        try MediaLibrary.ffmpeg.require(for: name)
        target = try Frame()
        target.pointer.pointee.width = Int32(width)
        target.pointer.pointee.height = Int32(height)
        target.pointer.pointee.format = AV_PIX_FMT_RGB24.rawValue
        // libswscale writes whole vectors, so rows are padded to 64 bytes.
        guard av_frame_get_buffer(target.pointer, 64) >= 0 else {
            throw LyraError(.memory, "\(name): no memory for an image of \(width) × \(height) pixels")
        }
    }

    deinit { sws_freeContext(context) }

    /// - Throws: `LyraError(.unsupported)` if libswscale does not know the pixel format, `.memory`.
    func convert(_ frame: UnsafeMutablePointer<AVFrame>, orientation: Orientation) throws -> RGBImage {
        try MediaLog.quiet {
            try prepare(for: frame)
            let rows = sws_scale_frame(context, target.pointer, frame)
            guard rows >= 0, let pixels = target.pointer.pointee.data.0 else {
                throw LyraError(.memory, "\(name): a frame cannot be converted to RGB: \(MediaLog.reason(rows))")
            }
            return try orientation.upright(
                pixels, width: width, height: height, stride: Int(target.pointer.pointee.linesize.0))
        }
    }

    private func prepare(for frame: UnsafeMutablePointer<AVFrame>) throws {
        var wanted = SourceFormat()
        let (format, hadFullRange) = Self.plain(AVPixelFormat(rawValue: frame.pointee.format))
        frame.pointee.format = format.rawValue
        wanted.format = format
        wanted.width = frame.pointee.width
        wanted.height = frame.pointee.height
        wanted.isFullRange = hadFullRange || frame.pointee.color_range == AVCOL_RANGE_JPEG
        wanted.matrix = Self.matrix(frame.pointee.colorspace)
        if wanted == source, context != nil { return }
        sws_freeContext(context)
        context = sws_getContext(
            wanted.width, wanted.height, format, Int32(width), Int32(height), AV_PIX_FMT_RGB24, SWS_BICUBIC, nil, nil,
            nil)
        guard context != nil else {
            throw LyraError(
                .unsupported, "\(name): its pixel format \(Self.name(of: format)) cannot be converted to RGB")
        }
        let table = sws_getCoefficients(wanted.matrix)
        let unit: Int32 = 1 << 16
        // Fails for RGB, which needs no matrix.
        sws_setColorspaceDetails(context, table, wanted.isFullRange ? 1 : 0, table, 1, 0, unit, unit)
        source = wanted
    }

    /// The format without "J", and whether the format had it: YUVJ formats are YUV formats with full range.
    private static func plain(_ format: AVPixelFormat) -> (AVPixelFormat, Bool) {
        switch format {
        case AV_PIX_FMT_YUVJ420P: (AV_PIX_FMT_YUV420P, true)
        case AV_PIX_FMT_YUVJ422P: (AV_PIX_FMT_YUV422P, true)
        case AV_PIX_FMT_YUVJ444P: (AV_PIX_FMT_YUV444P, true)
        case AV_PIX_FMT_YUVJ440P: (AV_PIX_FMT_YUV440P, true)
        case AV_PIX_FMT_YUVJ411P: (AV_PIX_FMT_YUV411P, true)
        default: (format, false)
        }
    }

    private static func matrix(_ space: AVColorSpace) -> Int32 {
        switch space {
        case AVCOL_SPC_BT709: SWS_CS_ITU709
        case AVCOL_SPC_BT2020_NCL, AVCOL_SPC_BT2020_CL: SWS_CS_BT2020
        case AVCOL_SPC_SMPTE240M: SWS_CS_SMPTE240M
        case AVCOL_SPC_FCC: SWS_CS_FCC
        default: SWS_CS_ITU601
        }
    }

    static func name(of format: AVPixelFormat) -> String {
        av_get_pix_fmt_name(format).map { String(cString: $0) } ?? "\(format.rawValue)"
    }
}
