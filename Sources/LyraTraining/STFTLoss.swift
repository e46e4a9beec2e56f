import Glibc
import LyraBase
import LyraTensor

/// The multi-resolution STFT loss of Parallel WaveGAN (arXiv 1910.11480, section 2.3): for each resolution, with the
/// magnitudes X of the generated and Y of the target waveform,
/// ‖Y − X‖ / ‖Y‖ (spectral convergence) + mean |log Y − log X|; the mean over resolutions. Frames are centred and
/// reflected at the ends, and powers are at least 1e-7, as in the paper's code.
public struct MultiResolutionSTFTLoss: Sendable {
    /// The paper's resolutions, for 24 kHz.
    public static let parallelWaveGAN: [(fftLength: Int, hopLength: Int, windowLength: Int)] = [
        (1024, 120, 600), (2048, 240, 1200), (512, 50, 240),
    ]
    /// Samples that a waveform must have for the paper's longest transform.
    static let leastSamples = 1025
    private static let leastPower = 1e-7

    private let resolutions: [FrameSpectra]

    /// The paper's resolutions.
    ///
    /// - Throws: `LyraError.memory` if there is no room for its tables.
    public init() throws {
        try self.init(
            Self.parallelWaveGAN.map {
                try SpectrumConfiguration(
                    fftLength: $0.fftLength, hopLength: $0.hopLength, windowLength: $0.windowLength)
            })
    }

    /// - Throws: `LyraError.argument` without a resolution, `.memory` if there is no room for its tables.
    public init(_ resolutions: [SpectrumConfiguration]) throws {
        guard !resolutions.isEmpty else { throw LyraError(.argument, "STFT loss: there is no resolution") }
        self.resolutions = try resolutions.map { try FrameSpectra($0, padding: $0.fftLength / 2) }
    }

    /// - Parameters:
    ///   - generated: samples of any shape
    ///   - target: as many samples
    /// - Throws: `LyraError.argument` if the lengths differ or the waveforms are not longer than half the longest
    ///   transform; `.memory` if there is no room, `.state` if interrupted.
    public func callAsFunction(
        _ generated: Tensor, target: Tensor, gradientScale: Double = 1
    ) throws -> WaveformLoss {
        try WaveformLoss(generated, target) { waves, gradient in
            let share = 1 / Double(resolutions.count)
            return try resolutions.reduce(0) { sum, spectra in
                let distances = try Distances(spectra, waves)
                try distances.differentiate(spectra, waves, scale: gradientScale * share, addingTo: gradient)
                return sum + share * distances.loss
            }
        }
    }

    /// The sums of one resolution. They are complete only after all frames, so the spectra are computed again for the
    /// gradient: memory does not grow with the waveform.
    private struct Distances {
        /// Σ (Y − X)², Σ Y², Σ |log Y − log X|
        private var squaredDifference = 0.0, squaredTarget = 0.0, logDifference = 0.0
        private let count: Double

        var loss: Double { (squaredDifference / squaredTarget).squareRoot() + logDifference / count }

        init(_ spectra: FrameSpectra, _ waves: WaveformLoss.Waveforms) throws {
            count = Double(spectra.bins) * Double(try spectra.frameCount(samples: waves.samples))
            var (difference, squared, logs) = (0.0, 0.0, 0.0)
            try spectra.forEachGroup(waves.generated, waves.target, samples: waves.samples, addingTo: nil) { group in
                for bin in 0..<spectra.bins {
                    for lane in 0..<group.frames {
                        let (x, y) = (magnitude(group.generated, bin, lane), magnitude(group.target, bin, lane))
                        difference += (y - x) * (y - x)
                        squared += y * y
                        logs += abs(log(y) - log(x))
                    }
                }
            }
            (squaredDifference, squaredTarget, logDifference) = (difference, squared, logs)
        }

        /// ∂loss/∂X = (X − Y) / (‖Y − X‖ ‖Y‖) + sign(log X − log Y) / (X · count), and ∂X/∂(Re, Im) = (Re, Im) / X
        /// where the power is above its least.
        func differentiate(
            _ spectra: FrameSpectra, _ waves: WaveformLoss.Waveforms, scale: Double,
            addingTo gradient: GrowingBuffer<Double>
        ) throws {
            let norms = (squaredDifference * squaredTarget).squareRoot()
            let convergence = norms > 0 ? scale / norms : 0
            try spectra.forEachGroup(
                waves.generated, waves.target, samples: waves.samples, addingTo: gradient
            ) { group in
                for bin in 0..<spectra.bins {
                    for lane in 0..<group.frames {
                        let (re, im) = (group.generated.re[bin][lane], group.generated.im[bin][lane])
                        guard re * re + im * im >= MultiResolutionSTFTLoss.leastPower else { continue }
                        let (x, y) = (magnitude(group.generated, bin, lane), magnitude(group.target, bin, lane))
                        let slope = (convergence * (x - y) + scale * signum(x - y) / (x * count)) / x
                        group.gradient.re[bin][lane] = slope * re
                        group.gradient.im[bin][lane] = slope * im
                    }
                }
            }
        }

        private func magnitude(_ signal: FrameSpectra.Signal, _ bin: Int, _ lane: Int) -> Double {
            let (re, im) = (signal.re[bin][lane], signal.im[bin][lane])
            return max(re * re + im * im, MultiResolutionSTFTLoss.leastPower).squareRoot()
        }
    }
}
