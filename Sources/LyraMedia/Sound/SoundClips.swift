import LyraBase
import LyraTensor

/// The input of ImageBind's audio branch: three evenly placed clips of two seconds, as normalized filter banks.
///
/// The positions of the clips depend on the length of the sound, so all samples are held until the end, up to a limit.
public final class SoundClips {
    /// Mel bands and frames of a clip.
    public static let shape = (bands: 128, frames: 204)
    /// The default limit on the length of a sound, in seconds.
    public static let defaultLimit = 600.0

    /// Clips of one sound.
    public static let clips = 3
    private static let seconds = 2.0
    private static let mean: Float = -4.268
    private static let deviation: Float = 9.138
    /// Samples that one `read` reads.
    private static let piece = 1 << 20

    private let name: String
    private let stream: MonoAudioStream
    private let filterBank: KaldiFilterBank
    private let limit: Int
    private let samples = GrowingBuffer<Float>()

    /// - Parameter limit: The longest sound, in seconds.
    /// - Throws: `LyraError(.argument)` if the source's rate is invalid, `.memory`.
    public init(_ source: any SampleSource, limit: Double = defaultLimit) throws {
        name = source.name
        filterBank = try KaldiFilterBank(bands: Self.shape.bands)
        stream = try MonoAudioStream(source, sampleRate: filterBank.sampleRate)
        self.limit = Int(min(max(limit, 0), 86_400) * Double(filterBank.sampleRate))
    }

    /// Reads the next piece of the source. → whether the source is at its end
    ///
    /// - Throws: What the source throws; `LyraError(.memory)` also if the sound is longer than the limit.
    public func read() throws -> Bool {
        let count = samples.count
        try samples.resize(to: count + Self.piece)
        let read = try stream.read(into: UnsafeMutableBufferPointer(rebasing: samples.elements[count...]))
        samples.truncate(to: count + read)
        guard samples.count <= limit else {
            throw LyraError(
                .memory,
                "\(name): longer than \(limit / filterBank.sampleRate) s, the limit for sound other than speech "
                    + "(limit_seconds)")
        }
        return read < Self.piece
    }

    /// The features of the clips: [clips, bands, frames]. Short clips are padded with 0 before normalization.
    ///
    /// - Throws: `LyraError(.format)` if there is less than one frame, `.memory`.
    public func features() throws -> Tensor {
        guard filterBank.frameCount(samples: samples.count) > 0 else {
            throw LyraError(
                .format, "\(name): \(samples.count) samples at 16 kHz are too short for a sound; 400 are needed")
        }
        let rate = Double(filterBank.sampleRate), (bands, frames) = Self.shape
        let room = max(Double(samples.count) / rate - Self.seconds, 0)
        return try Tensor([Self.clips, bands, frames]) { out in
            for clip in 0..<Self.clips {
                let start = room / Double(Self.clips - 1) * Double(clip)
                let end = min(Int((start + Self.seconds) * rate), samples.count)
                try write(samples.elements[min(Int(start * rate), end)..<end], to: out + clip * bands * frames)
            }
        }
    }

    /// Subtracts a clip's mean and writes its features: [bands, frames].
    private func write(
        _ clip: Slice<UnsafeMutableBufferPointer<Float>>, to target: UnsafeMutablePointer<Float>
    ) throws {
        let (bands, frames) = Self.shape
        let mean = Float(clip.reduce(0.0) { $0 + Double($1) } / Double(max(clip.count, 1)))
        let centred = try GrowingBuffer(copying: clip.lazy.map { $0 - mean })
        let features = GrowingBuffer<Float>()
        try filterBank(UnsafeBufferPointer(centred.elements), into: features)
        let count = features.count / bands
        for band in 0..<bands {
            for frame in 0..<frames {
                let value = frame < count ? features[frame * bands + band] : 0
                target[band * frames + frame] = (value - Self.mean) / Self.deviation
            }
        }
    }
}
