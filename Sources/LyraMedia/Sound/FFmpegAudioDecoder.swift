import CFFmpeg
import LyraBase
import LyraTensor

/// Decodes a sound track to mono samples with FFmpeg, for files that libsndfile does not read: AAC in M4A, MP4 and MOV,
/// Opus and Vorbis in WebM and Matroska, MP3, and the sound of videos. Channels are averaged.
///
/// Memory holds one frame of the codec. Damaged packets are skipped. The decoder ends where the sample rate changes;
/// `continued` opens the rest. Use it from one thread at a time.
public final class FFmpegAudioDecoder: ContinuedSource {
    public let name: String
    /// Decoded samples a second, in Hz.
    public let sampleRate: Int
    public private(set) var isAtEnd = false

    private let decoder: TrackDecoder
    private let frame: Frame
    /// Interleaved, [frames, channels].
    private let interleaved = GrowingBuffer<Float>()
    private var mono: FloatStorage?
    private var unread = 0..<0
    /// Whether `frame` holds the first frame of another sample rate.
    private var hasNewRate = false
    private var framesRead: Int64 = 0
    private var failure: LyraError?

    /// Opens an encoded file that `reader` reads. The decoder keeps the reader.
    ///
    /// - Parameter interrupted: Polled between packets and reads; true ends the call with `LyraError(.state)`.
    /// - Throws: `LyraError(.io)` if the reader fails, `.format` if the file cannot be decoded, `.missing` if it has no
    ///   audio track, `.memory` if it exceeds a limit, `.state` if interrupted.
    public init(
        reader: any ByteReader, name: String, limits: MediaLimits = MediaLimits(),
        interrupted: @escaping () -> Bool = { false }
    ) throws {
        self.name = name
        let file = try MediaFile(reader: reader, name: name, limits: limits, interrupted: interrupted)
        guard let number = file.bestTrack(AVMEDIA_TYPE_AUDIO), let track = file.track(number) else {
            throw LyraError(.missing, "\(name): has no audio track that can be decoded")
        }
        file.keepOnly(number)
        let codec = try CodecContext(
            track.pointee.codecpar.pointee.codec_id, parameters: track.pointee.codecpar, name: name
        ) {
            $0.thread_count = 1
            $0.max_samples = 1 << 22
            $0.pkt_timebase = track.pointee.time_base
        }
        decoder = try TrackDecoder(file: file, track: number, codec: codec)
        frame = try Frame()
        // The container may state a wrong sample rate; the first frame has the right one.
        let hasFrame = try decoder.next(into: frame.pointer)
        sampleRate = Int(hasFrame ? frame.pointer.pointee.sample_rate : track.pointee.codecpar.pointee.sample_rate)
        guard hasFrame || decoder.lastFailure == 0 else {
            let reason = MediaLog.reason(decoder.lastFailure)
            throw LyraError(.format, "\(name): no audio can be decoded: \(reason)")
        }
        try begin(hasFrame: hasFrame)
    }

    /// Continues where `other` stopped, at the sample rate of its last frame.
    private init(after other: FFmpegAudioDecoder) throws {
        (name, decoder, frame, framesRead) = (other.name, other.decoder, other.frame, other.framesRead)
        sampleRate = Int(frame.pointer.pointee.sample_rate)
        try begin(hasFrame: true)
    }

    private func begin(hasFrame: Bool) throws {
        let channels = hasFrame ? Int(frame.pointer.pointee.ch_layout.nb_channels) : 1
        try AudioLimits.check(sampleRate: sampleRate, channels: channels, name: name, code: .format)
        if hasFrame { try takeFrame() } else { isAtEnd = true }
    }

    /// The decoder of the rest at another sample rate; call it at the end of this one.
    func continued() throws -> (any ContinuedSource)? { hasNewRate ? try FFmpegAudioDecoder(after: self) : nil }

    /// Reads at most `buffer.count` mono samples; 0 at the end.
    ///
    /// - Throws: `LyraError(.io)` if the bytes cannot be read; `.format` if a sample is NaN, infinite or above
    ///   `AudioLimits.largestSample`; `.memory`; `.state` if interrupted.
    public func read(into buffer: UnsafeMutableBufferPointer<Float>) throws -> Int {
        if let failure { throw failure }
        guard let target = buffer.baseAddress else { return 0 }
        var filled = 0
        do {
            while filled < buffer.count, try fillMono() {
                let count = min(buffer.count - filled, unread.count)
                if let mono { (target + filled).update(from: mono.base + unread.lowerBound, count: count) }
                unread = unread.lowerBound + count..<unread.upperBound
                filled += count
            }
        } catch let error as LyraError {
            failure = error
            throw error
        }
        return filled
    }

    /// Decodes a frame if `mono` has no unread samples. Returns false at the end.
    private func fillMono() throws -> Bool {
        while unread.isEmpty, !isAtEnd {
            if try decoder.next(into: frame.pointer) { try takeFrame() } else { isAtEnd = true }
        }
        return !unread.isEmpty
    }

    /// Averages the decoded frame's channels into `mono`.
    private func takeFrame() throws {
        let channels = Int(frame.pointer.pointee.ch_layout.nb_channels)
        let count = Int(frame.pointer.pointee.nb_samples)
        let rate = Int(frame.pointer.pointee.sample_rate)
        guard rate == sampleRate else {
            hasNewRate = true
            isAtEnd = true
            return
        }
        try AudioLimits.check(sampleRate: rate, channels: channels, name: name, code: .format)
        guard count >= 0, count <= Int.max / channels,
            try SampleFormat.interleave(frame.pointer, frames: count, channels: channels, into: interleaved)
        else { throw LyraError(.unsupported, "\(name): an unknown sample format") }
        if (mono?.count ?? -1) < count { mono = try FloatStorage(count: count) }
        if let base = interleaved.elements.baseAddress, let mono, count > 0 {
            try AudioLimits.checkFinite(
                UnsafeBufferPointer(start: base, count: count * channels), channels: channels, firstFrame: framesRead,
                name: name)
            AudioLimits.downmix(base, frames: count, channels: channels, into: mono.base)
        }
        framesRead += Int64(count)
        unread = 0..<count
    }
}
