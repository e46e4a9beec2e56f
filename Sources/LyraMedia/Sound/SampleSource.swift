import LyraBase

/// A stream of mono samples: a decoder, or PCM that a caller appends.
public protocol SampleSource: AnyObject {
    /// The name in error messages: a path or a description.
    var name: String { get }

    /// Samples a second, in Hz: 1 … 1,000,000.
    var sampleRate: Int { get }

    /// True once every sample has been read and none can follow.
    var isAtEnd: Bool { get }

    /// The total number of samples; nil if it is unknown before they are read.
    var length: SourceLength? { get }

    /// Descriptions of the damaged data that were skipped so far. The text continues a sentence whose subject is the
    /// source: "lacks the Ogg stream …".
    var omissions: [String] { get }

    /// Reads at most `buffer.count` samples and moves past them.
    ///
    /// - Returns: The number of samples read. 0 if no samples are available now; more may follow unless `isAtEnd`.
    func read(into buffer: UnsafeMutableBufferPointer<Float>) throws -> Int
}

extension SampleSource {
    public var length: SourceLength? { nil }
    public var omissions: [String] { [] }
}

/// How many samples a source has.
public enum SourceLength: Sendable, Equatable {
    /// The exact number, from the header.
    case exact(Int64)
    /// An estimate from the header.
    case about(Int64)

    public var samples: Int64 {
        switch self {
        case .exact(let count), .about(let count): count
        }
    }

    /// The length at another sample rate, rounded up as the resampler does. Rates are in Hz, above 0.
    public func converted(from: Int, to: Int) -> SourceLength {
        guard from != to else { return self }
        let (count, rate) = (Double(samples), Double(to) / Double(from))
        let converted = Int64(min((count * rate).rounded(.up), 9e18))
        return if case .exact = self { .exact(converted) } else { .about(converted) }
    }
}

/// The valid ranges of audio; other values are taken for damage.
enum AudioLimits {
    static let sampleRates = 1...1_000_000
    static let channels = 1...1024

    /// The largest magnitude of a sample (full scale is 1). Larger samples would overflow Float in the sums of filters.
    static let largestSample: Float = 1e30

    /// The most samples, over all channels, that are decoded or converted at a time.
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

    /// Throws if a sample is NaN, infinite or above `largestSample`.
    ///
    /// - Parameters:
    ///   - samples: Interleaved, [frames, channels].
    ///   - firstFrame: The index of the first frame in the recording, for the message.
    ///   - code: `.format` for a file, `.argument` for samples of a caller.
    static func checkFinite(
        _ samples: UnsafeBufferPointer<Float>, channels: Int, firstFrame: Int64, name: String,
        code: LyraError.Code = .format
    ) throws {
        // Without the sign bit, bit patterns of Floats are ordered by magnitude, with infinity and NaN above all
        // numbers. So one integer maximum, which the compiler vectorizes, finds every invalid sample.
        var largest: UInt32 = 0
        for sample in samples { largest = max(largest, sample.bitPattern & 0x7fff_ffff) }
        guard largest > largestSample.bitPattern else { return }
        for (index, sample) in samples.enumerated() where !(sample.magnitude <= largestSample) {
            let frame = firstFrame + Int64(index / channels)
            let place = channels == 1 ? "sample \(frame)" : "sample \(frame) of channel \(index % channels)"
            throw LyraError(
                code,
                "\(name): \(place) is \(sample); samples must be numbers of at most \(largestSample) in magnitude")
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
