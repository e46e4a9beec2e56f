import CFFmpeg
import LyraBase

/// The samples of a decoded frame as floats, full scale ±1.
enum SampleFormat {
    /// Writes `frames · channels` interleaved samples, converted from any known format.
    ///
    /// - Returns: false if the format is unknown or the frame lacks a channel.
    /// - Throws: `LyraError.memory`.
    static func interleave(
        _ frame: UnsafeMutablePointer<AVFrame>, frames: Int, channels: Int, into samples: GrowingBuffer<Float>
    ) throws -> Bool {
        guard frames > 0 else { return true }
        try samples.resize(to: frames * channels)
        let format = AVSampleFormat(rawValue: frame.pointee.format)
        let isPlanar = av_sample_fmt_is_planar(format) != 0
        guard let planes = frame.pointee.extended_data else { return false }
        guard let target = samples.elements.baseAddress else { return false }
        for channel in 0..<channels {
            guard let plane = planes[isPlanar ? channel : 0] else { return false }
            let strip = Strip(
                source: plane, first: isPlanar ? 0 : channel, step: isPlanar ? 1 : channels, frames: frames,
                target: target + channel, targetStep: channels)
            guard strip.convert(av_get_packed_sample_fmt(format)) else { return false }
        }
        return true
    }

    /// The samples of one channel in the source and in the target.
    private struct Strip {
        let source: UnsafeMutablePointer<UInt8>
        let first: Int
        let step: Int
        let frames: Int
        let target: UnsafeMutablePointer<Float>
        let targetStep: Int

        func convert(_ format: AVSampleFormat) -> Bool {
            switch format {
            case AV_SAMPLE_FMT_FLT: copy { (sample: Float) in sample }
            case AV_SAMPLE_FMT_S16: copy { (sample: Int16) in Float(sample) * 0x1p-15 }
            case AV_SAMPLE_FMT_S32: copy { (sample: Int32) in Float(sample) * 0x1p-31 }
            case AV_SAMPLE_FMT_DBL: copy { (sample: Double) in Float(sample) }
            case AV_SAMPLE_FMT_U8: copy { (sample: UInt8) in (Float(sample) - 128) * 0x1p-7 }
            case AV_SAMPLE_FMT_S64: copy { (sample: Int64) in Float(sample) * 0x1p-63 }
            default: return false
            }
            return true
        }

        @inline(__always) private func copy<T>(_ convert: (T) -> Float) {
            source.withMemoryRebound(to: T.self, capacity: (frames - 1) * step + first + 1) { source in
                for frame in 0..<frames { target[frame &* targetStep] = convert(source[frame &* step &+ first]) }
            }
        }
    }
}
