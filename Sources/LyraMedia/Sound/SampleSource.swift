import LyraBase

/// Mono samples at some rate, read piece by piece: a decoder, or PCM that a caller appends.
public protocol SampleSource: AnyObject {
    /// What error messages call it: a path, or words.
    var name: String { get }

    /// Samples a second, in Hz: 1 … 1,000,000.
    var sampleRate: Int { get }

    /// True once every sample has been read and none can follow.
    var isAtEnd: Bool { get }

    /// How many samples there are in all, as far as that is known before they are read; nil where it is not.
    var length: SourceLength? { get }

    /// What was left out of the samples read so far because it cannot be decoded: sentences without a subject.
    var omissions: [String] { get }

    /// Reads at most `buffer.count` samples and moves past them.
    /// - Returns: The number of samples read. 0 means that there are none now; none will come either if `isAtEnd`.
    func read(into buffer: UnsafeMutableBufferPointer<Float>) throws -> Int
}

extension SampleSource {
    public var length: SourceLength? { nil }
    public var omissions: [String] { [] }
}

/// How many samples a source has.
public enum SourceLength: Sendable, Equatable {
    /// As its header counts them.
    case exact(Int64)
    /// As its header lets it be guessed.
    case about(Int64)

    public var samples: Int64 {
        switch self {
        case .exact(let count), .about(let count): count
        }
    }

    /// The samples at another rate, rounded up as the resampler does.
    ///
    /// - Parameters: rates in Hz, above 0
    public func converted(from: Int, to: Int) -> SourceLength {
        guard from != to else { return self }
        let (count, rate) = (Double(samples), Double(to) / Double(from))
        let converted = Int64(min((count * rate).rounded(.up), 9e18))
        return if case .exact = self { .exact(converted) } else { .about(converted) }
    }
}

/// What is taken for audio, and what for damage.
enum AudioLimits {
    static let sampleRates = 1...1_000_000
    static let channels = 1...1024

    /// A sample above this is no sound (full scale is 1), and would overflow Float in a filter's sums.
    static let largestSample: Float = 1e30

    /// Frames that are decoded or converted at a time are such that they have at most this many samples.
    static let samplesPerBlock = 1 << 16

    static func check(sampleRate: Int, channels: Int, name: String, code: LyraError.Code) throws {
        guard sampleRates.contains(sampleRate) else {
            throw LyraError(
                code, "\(name): a sample rate of \(sampleRate) Hz; it must be 1 … \(sampleRates.upperBound) Hz")
        }
        guard self.channels.contains(channels) else {
            throw LyraError(code, "\(name): \(channels) channels; there must be 1 … \(self.channels.upperBound)")
        }
    }

    /// Refuses NaN, infinite and absurdly large samples.
    /// - Parameters:
    ///   - samples: Interleaved, [frames, channels].
    ///   - firstFrame: The index in the recording of the first of them, for the message.
    ///   - code: What such samples are: a damaged file's, or a caller's mistake.
    static func checkFinite(
        _ samples: UnsafeBufferPointer<Float>, channels: Int, firstFrame: Int64, name: String,
        code: LyraError.Code = .format
    ) throws {
        // The bits of a Float without its sign order like its magnitude, with infinity and NaN on top: an integer
        // maximum sees them all, and vectorises.
        var largest: UInt32 = 0
        for sample in samples { largest = max(largest, sample.bitPattern & 0x7fff_ffff) }
        guard largest > largestSample.bitPattern else { return }
        for (index, sample) in samples.enumerated() where !(sample.magnitude <= largestSample) {
            let frame = firstFrame + Int64(index / channels)
            let place = channels == 1 ? "sample \(frame)" : "sample \(frame) of channel \(index % channels)"
            throw LyraError(code, "\(name): \(place) is \(sample), which is no sound")
        }
    }

    /// Averages the channels: `frames` interleaved frames of `channels` samples into `frames` samples.
    static func downmix(
        _ interleaved: UnsafePointer<Float>, frames: Int, channels: Int, into mono: UnsafeMutablePointer<Float>
    ) {
        if channels == 1 {
            mono.update(from: interleaved, count: frames)
            return
        }
        let share = 1 / Double(channels)
        for frame in 0..<frames {
            var sum = 0.0
            for channel in 0..<channels { sum += Double(interleaved[frame &* channels &+ channel]) }
            mono[frame] = Float(sum * share)
        }
    }
}
