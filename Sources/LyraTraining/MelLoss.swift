import Glibc
import LyraBase
import LyraMedia
import LyraTensor

/// The mean absolute difference of log-mel spectrograms, as HiFi-GAN's generator is trained with (arXiv 2010.05646,
/// section 2.4; the paper weighs it by 45).
///
/// As in the paper's code: frames are cut from the waveform with (fftLength − hopLength) / 2 samples reflected at each
/// end; a magnitude is √(power + 1e-9); mel values (Slaney's filters) are at least 1e-5; natural logarithms.
public struct MelLoss: Sendable {
    private static let powerOffset = 1e-9
    private static let least = 1e-5

    /// Samples that a waveform must have for a frame of the default configuration.
    static let leastSamples = 385

    private let spectra: FrameSpectra
    private let filters: MelFilterBank

    /// - Parameters:
    ///   - sampleRate: in Hz
    ///   - configuration: by default frames of 1,024 samples every 256
    ///   - highestFrequency: where the filters end, in Hz; by default half the sample rate
    /// - Throws: `LyraError.argument` if a number is out of range, `.memory` if there is no room for its tables.
    public init(
        sampleRate: Int = 16_000, configuration: SpectrumConfiguration? = nil, mels: Int = 80,
        highestFrequency: Double? = nil
    ) throws {
        let configuration =
            try configuration ?? SpectrumConfiguration(fftLength: 1024, hopLength: 256, windowLength: 1024)
        guard (1...1024).contains(mels), (1000...1_000_000).contains(sampleRate) else {
            throw LyraError(
                .argument,
                "mel loss: \(mels) mels at \(sampleRate) Hz; there can be 1 to 1024, and 1000 to 1000000 Hz")
        }
        let nyquist = Double(sampleRate) / 2, highest = highestFrequency ?? nyquist
        guard highest > 0, highest <= nyquist else {
            throw LyraError(
                .argument,
                "mel loss: the highest frequency is \(highest) Hz; it must be above 0 and at most \(nyquist)")
        }
        spectra = try FrameSpectra(
            configuration, padding: max(configuration.fftLength - configuration.hopLength, 0) / 2)
        filters = try MelFilterBank(
            melCount: mels, bins: spectra.bins, sampleRate: sampleRate, highestFrequency: highest)
    }

    /// - Parameters:
    ///   - generated: samples of any shape
    ///   - target: as many samples
    /// - Throws: `LyraError.argument` if the lengths differ or the waveforms are too short for a frame; `.memory` if
    ///   there is no room, `.state` if interrupted.
    public func callAsFunction(
        _ generated: Tensor, target: Tensor, gradientScale: Double = 1
    ) throws -> WaveformLoss {
        try WaveformLoss(generated, target) { waves, gradient in
            let frames = try spectra.frameCount(samples: waves.samples)
            let share = 1 / (Double(frames) * Double(filters.bands.count))
            let magnitudes = try Magnitudes(bins: spectra.bins)
            var sum = 0.0
            try spectra.forEachGroup(
                waves.generated, waves.target, samples: waves.samples, addingTo: gradient
            ) { group in
                magnitudes.measure(group)
                sum += compare(magnitudes, frames: group.frames, scale: gradientScale * share)
                magnitudes.differentiate(group)
            }
            return sum * share
        }
    }

    /// Adds the derivatives by the generated magnitudes.
    ///
    /// - Returns: Σ |log mel X − log mel Y| over the group's frames
    private func compare(_ magnitudes: Magnitudes, frames: Int, scale: Double) -> Double {
        var sum = 0.0
        for band in filters.bands {
            let weights = filters.weights(of: band)
            var (x, y) = (FrameSpectra.Lanes(), FrameSpectra.Lanes())
            for (index, weight) in weights.enumerated() {
                x += magnitudes.generated[band.firstBin + index] * weight
                y += magnitudes.target[band.firstBin + index] * weight
            }
            var slope = FrameSpectra.Lanes()
            for lane in 0..<frames {
                let difference = log(max(x[lane], Self.least)) - log(max(y[lane], Self.least))
                sum += abs(difference)
                if x[lane] >= Self.least { slope[lane] = scale * signum(difference) / x[lane] }
            }
            for (index, weight) in weights.enumerated() { magnitudes.gradient[band.firstBin + index] += slope * weight }
        }
        return sum
    }

    /// √(power + offset) of a group's frames, and the derivatives by them: [bins]
    private struct Magnitudes {
        let generated: GrowingBuffer<FrameSpectra.Lanes>
        let target: GrowingBuffer<FrameSpectra.Lanes>
        let gradient: GrowingBuffer<FrameSpectra.Lanes>

        init(bins: Int) throws {
            generated = try GrowingBuffer(repeating: FrameSpectra.Lanes(), count: bins)
            target = try GrowingBuffer(repeating: FrameSpectra.Lanes(), count: bins)
            gradient = try GrowingBuffer(repeating: FrameSpectra.Lanes(), count: bins)
        }

        func measure(_ group: FrameSpectra.Group) {
            for bin in generated.indices {
                generated[bin] = magnitude(group.generated, bin)
                target[bin] = magnitude(group.target, bin)
                gradient[bin] = FrameSpectra.Lanes()
            }
        }

        /// ∂X/∂(Re, Im) = (Re, Im) / X
        func differentiate(_ group: FrameSpectra.Group) {
            for bin in generated.indices {
                let slope = gradient[bin] / generated[bin]
                group.gradient.re[bin] = slope * group.generated.re[bin]
                group.gradient.im[bin] = slope * group.generated.im[bin]
            }
        }

        private func magnitude(_ signal: FrameSpectra.Signal, _ bin: Int) -> FrameSpectra.Lanes {
            let (re, im) = (signal.re[bin], signal.im[bin])
            return (re * re + im * im + MelLoss.powerOffset).squareRoot()
        }
    }
}
