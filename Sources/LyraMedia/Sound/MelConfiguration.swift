import FoundationEssentials
import LyraBase

/// How a speech tower wants its log-mel features: the values of its preprocessor_config.json.
///
/// A key that is not there has the default of transformers' WhisperFeatureExtractor.
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

    /// Frames of one window: 3000 for Whisper's 30 s. A centred transform has one more; the last is dropped.
    public var frameCount: Int { (sampleCount + fftLength / 2 * 2 - fftLength) / hopLength }

    private static let melCounts = 1...1024
    private static let hopLengths = 1...65536
    private static let fftLengths = 2...16384
    private static let sampleCounts = 1...(1 << 26)
    private static let sampleRates = 1000...1_000_000
    /// Values of one window's features: 128 MiB of Float.
    private static let largestOutput = 1 << 25
    private static let largestFile = 1 << 20

    /// - Parameter source: The file the values came from, for error messages.
    /// - Throws: `LyraError(.format)` if a value is not positive, is beyond any sense, or contradicts another.
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
                .format, "\(source): \(melCount) mels × \(frameCount) frames a window is more than lyra allows")
        }
    }

    /// Reads a preprocessor_config.json.
    /// - Throws: `LyraError(.io)` if it cannot be read, `.format` if its content cannot be.
    public init(path: String) throws {
        let reader = try FileByteReader(regularFile: path)
        let size = try reader.size
        guard size <= Self.largestFile else {
            throw LyraError(.format, "\(path): \(size) bytes is too much for a preprocessor_config.json")
        }
        var bytes = [UInt8](repeating: 0, count: Int(max(size, 0)))
        var filled = 0
        while filled < bytes.count {
            let count = try bytes.withUnsafeMutableBytes {
                try reader.read(into: UnsafeMutableRawBufferPointer(rebasing: $0[filled...]))
            }
            if count == 0 { break }
            filled += count
        }
        try self.init(json: Array(bytes[..<filled]), source: path)
    }

    /// Reads the text of a preprocessor_config.json.
    /// - Throws: `LyraError(.format)`, naming `source`.
    public init(json: some Sequence<UInt8>, source: String) throws {
        do {
            let decoder = JSONDecoder()
            if let key = Self.sourceKey { decoder.userInfo[key] = source }
            self = try decoder.decode(MelConfiguration.self, from: Data(json))
        } catch let error as LyraError {
            throw error
        } catch let error as DecodingError {
            throw LyraError(.format, "\(source): \(Self.sentence(error))")
        } catch {
            throw LyraError(.format, "\(source): not a preprocessor_config.json: \(error)")
        }
    }
}

extension MelConfiguration: Decodable {
    /// Carries the file's name to `init(from:)`, for error messages.
    static let sourceKey = CodingUserInfoKey(rawValue: "lyra.source")

    private enum CodingKeys: String, CodingKey {
        case melCount = "feature_size"
        case hopLength = "hop_length"
        case fftLength = "n_fft"
        case sampleCount = "n_samples"
        case chunkSeconds = "chunk_length"
        case maximumFrames = "nb_max_frames"
        case sampleRate = "sampling_rate"
    }

    public init(from decoder: any Decoder) throws {
        let source = Self.sourceKey.flatMap { decoder.userInfo[$0] as? String } ?? "preprocessor_config.json"
        let values = try decoder.container(keyedBy: CodingKeys.self)
        let sampleRate = try values.decodeIfPresent(Int.self, forKey: .sampleRate) ?? 16_000
        let hopLength = try values.decodeIfPresent(Int.self, forKey: .hopLength) ?? 160
        let stated = try values.decodeIfPresent(Int.self, forKey: .sampleCount)
        let seconds = try values.decodeIfPresent(Int.self, forKey: .chunkSeconds)
        let sampleCount: Int
        if let seconds {
            let (product, overflow) = seconds.multipliedReportingOverflow(by: sampleRate)
            guard !overflow, stated == nil || stated == product else {
                throw LyraError(
                    .format,
                    "\(source): n_samples is \(stated.map(String.init) ?? "not given"), but chunk_length is \(seconds) s"
                        + " of \(sampleRate) Hz")
            }
            sampleCount = product
        } else {
            sampleCount = stated ?? 480_000
        }
        try self.init(
            melCount: values.decodeIfPresent(Int.self, forKey: .melCount) ?? 80, hopLength: hopLength,
            fftLength: values.decodeIfPresent(Int.self, forKey: .fftLength) ?? 400, sampleCount: sampleCount,
            sampleRate: sampleRate, source: source)
        if let frames = try values.decodeIfPresent(Int.self, forKey: .maximumFrames), frames != sampleCount / hopLength
        {
            throw LyraError(
                .format,
                "\(source): nb_max_frames is \(frames), but n_samples / hop_length is \(sampleCount / hopLength)")
        }
    }

    private static func sentence(_ error: DecodingError) -> String {
        let context: DecodingError.Context
        switch error {
        case .typeMismatch(_, let found), .valueNotFound(_, let found), .keyNotFound(_, let found),
            .dataCorrupted(let found):
            context = found
        @unknown default:
            return "not a preprocessor_config.json"
        }
        let key = context.codingPath.map(\.stringValue).joined(separator: ".")
        return (key.isEmpty ? "" : "\(key): ") + context.debugDescription
    }
}
