import Glibc
import LyraBase
import LyraTensor

/// Whisper's input features: the logarithm of a mel spectrogram, of one window of audio at a time.
///
/// The numbers are those of transformers' WhisperFeatureExtractor. The audio is padded with silence to a full window.
/// Frames are centered, with reflection at both ends, and weighted by a periodic Hann function. Slaney's mel filters
/// are applied to the squared magnitudes. x = log10 of the result, at least −10 and at least the window's maximum − 8;
/// the features are (x + 4) / 4. Immutable, so threads may share one.
public struct LogMelSpectrogram: Sendable {
    public let configuration: MelConfiguration

    private typealias Lanes = FourierTransform.Lanes
    /// Two real frames fit in each complex lane of the transform.
    private static let framesPerGroup = 2 * Lanes.scalarCount
    /// log10 of the smallest power that is distinguished from silence.
    private static let floor: Float = -10
    private static let dynamicRange: Float = 8

    private let window: GrowingBuffer<Double>
    private let transform: FourierTransform
    private let filters: MelFilterBank

    /// - Throws: `LyraError(.memory)`.
    public init(_ configuration: MelConfiguration) throws {
        self.configuration = configuration
        let length = configuration.fftLength
        window = try GrowingBuffer(
            copying: (0..<length).lazy.map { 0.5 - 0.5 * cos(2 * Double.pi * Double($0) / Double(length)) })
        transform = try FourierTransform(count: length)
        filters = try MelFilterBank(
            melCount: configuration.melCount, bins: length / 2 + 1, sampleRate: configuration.sampleRate)
    }

    /// Number of values in the features of one window.
    public var outputCount: Int { configuration.melCount * configuration.frameCount }

    /// - Parameter pcm: At most one window of samples, at the configuration's rate. Silence fills up the window.
    /// - Returns: [mels, frames]
    /// - Throws: As `callAsFunction(_:into:)`.
    public func callAsFunction(_ pcm: GrowingBuffer<Float>) throws -> Tensor {
        try callAsFunction(UnsafeBufferPointer(pcm.elements))
    }

    /// The same, for samples in memory of the caller.
    public func callAsFunction(_ pcm: UnsafeBufferPointer<Float>) throws -> Tensor {
        try Tensor([configuration.melCount, configuration.frameCount]) {
            try self(pcm, into: UnsafeMutableBufferPointer(start: $0, count: outputCount))
        }
    }

    /// - Parameters:
    ///   - pcm: At most one window of samples, at the configuration's rate. Silence fills up the window.
    ///   - features: Receives `outputCount` values: [mels, frames], row-major.
    /// - Throws: `LyraError(.argument)` for more samples than a window or a wrong size of `features`; `.format` if a
    ///   sample is NaN, infinite or above `AudioLimits.largestSample`; `.memory`; `.state` if interrupted.
    public func callAsFunction(
        _ pcm: UnsafeBufferPointer<Float>, into features: UnsafeMutableBufferPointer<Float>
    ) throws {
        guard pcm.count <= configuration.sampleCount else {
            throw LyraError(
                .argument, "mel features: \(pcm.count) samples, but a window has \(configuration.sampleCount)")
        }
        guard features.count == outputCount, let output = features.baseAddress else {
            throw LyraError(.argument, "mel features: room for \(features.count) values, but there are \(outputCount)")
        }
        try AudioLimits.checkFinite(pcm, channels: 1, firstFrame: 0, name: "mel features")
        let largest = try logarithms(of: pcm, into: output)
        let least = max(largest, Self.floor) - Self.dynamicRange
        for index in 0..<features.count { output[index] = (max(output[index], least) + 4) * 0.25 }
    }

    // MARK: Frames

    /// Writes log10 of the mel powers, [mels, frames], and returns the largest.
    private func logarithms(
        of pcm: UnsafeBufferPointer<Float>, into output: UnsafeMutablePointer<Float>
    ) throws -> Float {
        let length = configuration.fftLength
        let bins = length / 2 + 1
        let frames = configuration.frameCount
        var largest = Self.floor
        let workspace = try FourierTransform.Workspace(4 * length + 2 * bins), room = workspace.base
        defer { withExtendedLifetime(workspace) {} }
        let signal = FourierTransform.Signal(re: room, im: room + length)
        let scratch = FourierTransform.Signal(re: room + 2 * length, im: room + 3 * length)
        let powers = room + 4 * length

        for first in stride(from: 0, to: frames, by: Self.framesPerGroup) {
            try Interruption.check()
            let count = min(Self.framesPerGroup, frames - first)
            if isSilent(frames: first..<first + count, sampleCount: pcm.count) {
                for mel in 0..<configuration.melCount {
                    (output + mel * frames + first).update(repeating: Self.floor, count: count)
                }
                continue
            }
            load(pcm, frames: first..<first + count, into: signal)
            measure(transform.transform(signal, scratch: scratch), into: powers)
            largest = max(largest, writeBands(powers, count: count, into: output + first))
        }
        return largest
    }

    /// Whether frames contain only the padding after the last sample, including samples reflected at the window's end.
    private func isSilent(frames: Range<Int>, sampleCount: Int) -> Bool {
        let half = configuration.fftLength / 2
        let start = frames.lowerBound * configuration.hopLength - half
        let end = (frames.upperBound - 1) * configuration.hopLength - half + configuration.fftLength
        let reflected = 2 * (configuration.sampleCount - 1) - (end - 1)
        return sampleCount == 0 || (start >= sampleCount && reflected >= sampleCount)
    }

    /// Loads a group of windowed frames into the lanes: the first half as real parts, the second half as imaginary
    /// parts.
    private func load(_ pcm: UnsafeBufferPointer<Float>, frames: Range<Int>, into signal: FourierTransform.Signal) {
        let length = configuration.fftLength
        let lanes = Lanes.scalarCount
        let window = window.elements
        for slot in 0..<Self.framesPerGroup {
            let part = slot < lanes ? signal.re : signal.im
            let target = UnsafeMutableRawPointer(part).assumingMemoryBound(to: Double.self) + slot % lanes
            guard slot < frames.count else {
                for index in 0..<length { target[index &* lanes] = 0 }
                continue
            }
            let start = (frames.lowerBound + slot) * configuration.hopLength - length / 2
            if start >= 0, start + length <= pcm.count, let samples = pcm.baseAddress {
                for index in 0..<length { target[index &* lanes] = Double(samples[start &+ index]) * window[index] }
            } else {
                for index in 0..<length {
                    target[index * lanes] = Double(sample(at: start + index, of: pcm)) * window[index]
                }
            }
        }
    }

    /// The sample of the padded window at `index`. Indices beyond both ends, up to half a frame, are reflected.
    private func sample(at index: Int, of pcm: UnsafeBufferPointer<Float>) -> Float {
        let last = configuration.sampleCount - 1
        let inside = index < 0 ? -index : index > last ? 2 * last - index : index
        return inside < pcm.count ? pcm[inside] : 0
    }

    // MARK: Powers

    /// Separates the spectra of the two real frames in each lane, and writes their squared magnitudes: `bins` of the
    /// first frames, then `bins` of the second.
    private func measure(_ spectrum: FourierTransform.Signal, into powers: UnsafeMutablePointer<Lanes>) {
        let length = configuration.fftLength
        let bins = length / 2 + 1
        for bin in 0..<bins {
            let mirror = bin == 0 ? 0 : length &- bin
            let (re, im) = (spectrum.re[bin], spectrum.im[bin])
            let (mirrorRe, mirrorIm) = (spectrum.re[mirror], spectrum.im[mirror])
            let (firstRe, firstIm) = (re + mirrorRe, im - mirrorIm)
            let (secondRe, secondIm) = (im + mirrorIm, mirrorRe - re)
            powers[bin] = (firstRe * firstRe + firstIm * firstIm) * 0.25
            powers[bins &+ bin] = (secondRe * secondRe + secondIm * secondIm) * 0.25
        }
    }

    /// Writes log10 of the mel bands of one group's frames, and returns the largest.
    private func writeBands(
        _ powers: UnsafeMutablePointer<Lanes>, count: Int, into output: UnsafeMutablePointer<Float>
    ) -> Float {
        let bins = configuration.fftLength / 2 + 1
        let lanes = Lanes.scalarCount
        var largest = Self.floor
        for (mel, band) in filters.bands.enumerated() {
            let row = output + mel * configuration.frameCount
            for half in 0..<2 where half * lanes < count {
                let source = powers + half * bins + band.firstBin
                var sum = Lanes()
                for (index, weight) in filters.weights(of: band).enumerated() { sum += source[index] * weight }
                for lane in 0..<min(lanes, count - half * lanes) {
                    let value = max(Float(log10(sum[lane])), Self.floor)
                    row[half * lanes + lane] = value
                    largest = max(largest, value)
                }
            }
        }
        return largest
    }
}
