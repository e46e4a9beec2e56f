import Foundation
import LyraBase
import LyraTensor
import Testing

@testable import LyraTraining

/// The vocoder's losses against PyTorch and central differences.
@Suite struct SpectralLossTests {
    /// Both compute in float64 from the same floats; the gradient is rounded to floats.
    @Test func stftLossEqualsParallelWaveGAN() throws {
        let fixture = try TrainingFixture("spectra")
        let loss = try MultiResolutionSTFTLoss()(fixture.tensor("stft.in"), target: fixture.tensor("target"))
        #expect(difference(loss.value, try fixture.doubles("stft.loss")[0]) < 1e-9)
        #expect(difference(loss.gradient.values, try fixture.doubles("stft.grad")) < 1e-6)
    }

    @Test func melLossEqualsHiFiGAN() throws {
        let fixture = try TrainingFixture("spectra")
        let loss = try MelLoss()(fixture.tensor("stft.in"), target: fixture.tensor("target"))
        #expect(difference(loss.value, try fixture.doubles("mel.loss")[0]) < 1e-9)
        #expect(difference(loss.gradient.values, try fixture.doubles("mel.grad")) < 1e-6)
    }

    @Test func melLossOfOtherFramesEqualsHiFiGAN() throws {
        let fixture = try TrainingFixture("spectra")
        let frames = try SpectrumConfiguration(fftLength: 400, hopLength: 160, windowLength: 320)
        let mel = try MelLoss(configuration: frames, mels: 20, highestFrequency: 7600)
        let loss = try mel(fixture.tensor("stft.in"), target: fixture.tensor("target"))
        #expect(difference(loss.value, try fixture.doubles("mel_narrow.loss")[0]) < 1e-9)
        #expect(difference(loss.gradient.values, try fixture.doubles("mel_narrow.grad")) < 1e-6)
    }

    /// Lengths of transform, hop and window, and samples: odd and prime lengths, hops that skip samples, one frame.
    static let shapes = [(8, 3, 8, 20), (15, 4, 9, 31), (7, 9, 5, 40), (16, 5, 12, 9), (12, 40, 12, 13)]

    @Test(arguments: shapes) func stftGradientEqualsCentralDifferences(
        _ fft: Int, _ hop: Int, _ window: Int, _ samples: Int
    ) throws {
        let loss = try MultiResolutionSTFTLoss([
            SpectrumConfiguration(fftLength: fft, hopLength: hop, windowLength: window),
            SpectrumConfiguration(fftLength: 8, hopLength: 2, windowLength: 6),
        ])
        let (x, y) = (try normal([samples], seed: fft), try normal([samples], seed: hop + 100))
        let got = try loss(x, target: y, gradientScale: 5).gradient.values
        let want = try centralDifferences(x, step: 0x1p-16) { 5 * (try loss($0, target: y).value) }
        // Logarithms of small magnitudes have large third derivatives; the step is as small as floats allow.
        #expect(difference(got, want) < 1e-4)
    }

    @Test(arguments: shapes) func melGradientEqualsCentralDifferences(
        _ fft: Int, _ hop: Int, _ window: Int, _ samples: Int
    ) throws {
        let mel = try MelLoss(
            sampleRate: 1000,
            configuration: SpectrumConfiguration(fftLength: fft, hopLength: hop, windowLength: window), mels: 3)
        let (x, y) = (try normal([samples], seed: fft + 7), try normal([samples], seed: hop + 200))
        let got = try mel(x, target: y, gradientScale: 5).gradient.values
        let want = try centralDifferences(x, step: 0x1p-16) { 5 * (try mel($0, target: y).value) }
        #expect(difference(got, want) < 1e-4)
    }

    @Test func equalWaveformsAndSilenceHaveNoGradient() throws {
        let wave = try normal([3000], seed: 1), silence = try Tensor(zeros: [3000])
        let losses: [(Tensor, Tensor) throws -> WaveformLoss] = [
            { try MultiResolutionSTFTLoss()($0, target: $1) }, { try MelLoss()($0, target: $1) },
        ]
        for loss in losses {
            for pair in [(wave, wave), (silence, silence)] {
                let result = try loss(pair.0, pair.1)
                #expect(result.value == 0 && result.gradient.values.allSatisfy { $0 == 0 })
            }
            let silent = try loss(silence, wave)
            #expect(silent.value.isFinite && silent.gradient.values.allSatisfy { $0 == 0 }, "below the least power")
            #expect(try loss(wave, silence).value.isFinite)
        }
    }

    @Test func wrongInputIsRefused() throws {
        let wave = try normal([3000], seed: 1)
        #expect(throws: LyraError.self) { try MultiResolutionSTFTLoss()(wave, target: wave.rows(0..<2999)) }
        #expect(throws: LyraError.self) { try MelLoss()(wave.rows(0..<2999), target: wave) }
        for samples in [0, 1, 300] {
            let short = wave.rows(0..<samples)
            #expect(throws: LyraError.self) { try MultiResolutionSTFTLoss()(short, target: short) }
            #expect(throws: LyraError.self) { try MelLoss()(short, target: short) }
        }
        #expect(throws: LyraError.self) { try MultiResolutionSTFTLoss([]) }
        for (fft, hop, window) in [(1, 1, 1), (8, 0, 8), (8, 1, 9), (8, 1, 1), (.max, 1, 8), (8, .max, 8), (-8, 1, 8)] {
            #expect(throws: LyraError.self) {
                try SpectrumConfiguration(fftLength: fft, hopLength: hop, windowLength: window)
            }
        }
        #expect(throws: LyraError.self) { try MelLoss(mels: 0) }
        #expect(throws: LyraError.self) { try MelLoss(sampleRate: 1) }
        #expect(throws: LyraError.self) { try MelLoss(highestFrequency: 8001) }
        #expect(throws: LyraError.self) { try MelLoss(highestFrequency: .nan) }
    }
}
