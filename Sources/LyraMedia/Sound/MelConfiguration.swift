import LyraBase

/// The parameters of a speech tower's log-mel features: the values of its preprocessor_config.json.
///
/// A missing key has the default of transformers' WhisperFeatureExtractor.
public struct MelConfiguration: Equatable, Sendable {
    /// Mel bands (`feature_size`).
    public let melCount: Int
    /// Samples from one frame to the next (`hop_length`).
    public let hopLength: Int
    /// Samples of a frame (`n_fft`).
    public let fftLength: Int
    /// Samples of one window of audio (`n_samples`, or `chunk_length` seconds).
    public let sampleCount: Int
    /// Samples a second, in Hz (`sampling_rate`).
    public let sampleRate: Int

    /// Frames of one window: 3000 for Whisper's 30 s. Centered framing gives one more; the last is dropped.
    public var frameCount: Int { (sampleCount + fftLength / 2 * 2 - fftLength) / hopLength }

    private static let melCounts = 1...1024
    private static let hopLengths = 1...65536
    private static let fftLengths = 2...16384
    private static let sampleCounts = 1...(1 << 26)
    private static let sampleRates = 1000...1_000_000
    /// Values of one window's features: 128 MiB of Float.
    private static let largestOutput = 1 << 25

    /// - Parameter source: The file the values came from, for error messages.
    /// - Throws: `LyraError(.format)` if a value is out of range or contradicts another.
    public init(
        melCount: Int = 80, hopLength: Int = 160, fftLength: Int = 400, sampleCount: Int = 480_000,
        sampleRate: Int = 16_000, source: String = "mel configuration"
    ) throws {
        for (key, value, range) in [
            ("feature_size", melCount, Self.melCounts), ("hop_length", hopLength, Self.hopLengths),
            ("n_fft", fftLength, Self.fftLengths), ("n_samples", sampleCount, Self.sampleCounts),
            ("sampling_rate", sampleRate, Self.sampleRates),
        ] where !range.contains(value) {
            throw LyraError(
                .format, "\(source): \(key) is \(value); it must be \(range.lowerBound) … \(range.upperBound)")
        }
        guard sampleCount > fftLength / 2 else {
            throw LyraError(
                .format, "\(source): n_samples is \(sampleCount), too short for frames of n_fft = \(fftLength)")
        }
        self.melCount = melCount
        self.hopLength = hopLength
        self.fftLength = fftLength
        self.sampleCount = sampleCount
        self.sampleRate = sampleRate
        guard frameCount >= 1 else {
            throw LyraError(
                .format, "\(source): n_samples is \(sampleCount), not one frame at hop_length = \(hopLength)")
        }
        guard frameCount <= Self.largestOutput / melCount else {
            throw LyraError(
                .format, "\(source): \(melCount) mels × \(frameCount) frames a window are more than lyra allows")
        }
    }

    /// Reads the text of a preprocessor_config.json.
    /// - Throws: `LyraError(.format)`, naming the file.
    public init(_ file: NamedBytes) throws {
        try self.init(file.decode(PreprocessorFile.self), source: file.name)
    }
}

/// The keys of a preprocessor_config.json that lyra reads.
private struct PreprocessorFile: Decodable {
    var melCount: Int?
    var hopLength: Int?
    var fftLength: Int?
    var sampleCount: Int?
    var chunkSeconds: Int?
    var maximumFrames: Int?
    var sampleRate: Int?

    enum CodingKeys: String, CodingKey {
        case melCount = "feature_size"
        case hopLength = "hop_length"
        case fftLength = "n_fft"
        case sampleCount = "n_samples"
        case chunkSeconds = "chunk_length"
        case maximumFrames = "nb_max_frames"
        case sampleRate = "sampling_rate"
    }
}

extension MelConfiguration {
    private init(_ file: PreprocessorFile, source: String) throws {
        let sampleRate = file.sampleRate ?? 16_000, hopLength = file.hopLength ?? 160
        var sampleCount = file.sampleCount ?? 480_000
        if let seconds = file.chunkSeconds {
            guard let product = seconds.checkedMultiplying(by: sampleRate),
                file.sampleCount == nil || file.sampleCount == product
            else {
                let stated = file.sampleCount.map { "\($0)" } ?? "not given"
                throw LyraError(
                    .format,
                    "\(source): n_samples is \(stated), but chunk_length is \(seconds) s of \(sampleRate) Hz")
            }
            sampleCount = product
        }
        try self.init(
            melCount: file.melCount ?? 80, hopLength: hopLength, fftLength: file.fftLength ?? 400,
            sampleCount: sampleCount, sampleRate: sampleRate, source: source)
        if let frames = file.maximumFrames, frames != sampleCount / hopLength {
            throw LyraError(
                .format,
                "\(source): nb_max_frames is \(frames), but n_samples / hop_length is \(sampleCount / hopLength)")
        }
    }
}
