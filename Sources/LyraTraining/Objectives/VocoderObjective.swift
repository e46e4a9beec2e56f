import Glibc
import LyraBase
import LyraModel
import LyraTensor

/// Trains a vocoder from nothing: the difference of log-mel spectrograms, the multi-resolution STFT loss, and the squared
/// error of log(1 + frames) of the units. Each is a mean over examples. There is no adversary, so voices are duller than
/// those of a vocoder that was trained with one.
package struct VocoderObjective: Objective {
    package struct Weights: Sendable {
        package var mel = 1.0
        package var stft = 1.0
        /// Of the duration predictor's loss.
        package var duration = 1.0

        package init() {}
    }

    package let parts: [LossPart]
    private let vocoder: Vocoder
    private let mel: MelLoss?
    private let stft: MultiResolutionSTFTLoss?
    private let learnsDurations: Bool
    /// The fewest samples of which each loss has a frame.
    private let leastSamples: Int

    /// - Parameter weights: a loss of weight 0 is not computed
    /// - Throws: `LyraError.argument` if all weights are 0; `.memory` if there is no room for tables.
    package init(_ vocoder: Vocoder, weights: Weights = Weights()) throws {
        self.vocoder = vocoder
        let all = [
            LossPart("mel", weight: weights.mel), LossPart("stft", weight: weights.stft),
            LossPart("duration", weight: weights.duration),
        ]
        parts = all.filter { $0.weight > 0 }
        guard weights.mel > 0 || weights.stft > 0 else {
            throw LyraError(.argument, "the losses of a vocoder's waveform have weight 0; give mel or stft a weight")
        }
        mel = weights.mel > 0 ? try MelLoss(sampleRate: vocoder.sampleRate) : nil
        stft = weights.stft > 0 ? try MultiResolutionSTFTLoss() : nil
        learnsDurations = weights.duration > 0
        leastSamples = stft == nil ? MelLoss.leastSamples : MultiResolutionSTFTLoss.leastSamples
    }

    package func terms(of example: VocoderExample) -> [Int] { parts.map { _ in 1 } }

    /// - Throws: `LyraError.argument`, naming the example, for a unit that the vocoder does not have or a waveform that
    ///   is too short for a spectrum.
    package func check(_ example: VocoderExample) throws {
        func refusal(_ reason: String) -> LyraError { LyraError(.argument, "\(example.origin): \(reason)") }
        let units = vocoder.configuration.numEmbeddings
        if let wrong = example.units.first(where: { !(0..<Int32(clamping: units)).contains($0) }) {
            throw refusal("speech unit \(wrong) is not 0 to \(units - 1)")
        }
        guard example.target.count >= leastSamples else {
            throw refusal(
                "\(example.target.count) samples are too few for the spectra of the loss, which need "
                    + "\(leastSamples); use longer recordings, or a larger loss.crop")
        }
    }

    package func differentiate(
        _ examples: [VocoderExample], totals: [Int], seed: UInt64, observer: (any GradientObserver)?
    ) throws -> [Double] {
        let total = Double(max(totals.first ?? 0, 1))
        var sums = parts.map { _ in 0.0 }
        for (number, example) in examples.enumerated() {
            try Interruption.check()
            let waveform = try vocoder.waveform(unitOfEachFrame: example.frames)
            var losses = try losses(of: waveform.detached, example, share: 1 / total)
            var roots = losses.map { (result: waveform, gradient: $0.gradient) }
            if learnsDurations {
                let predicted = try vocoder.logDurations(of: example.units)
                losses.append(try durationLoss(predicted.detached, example, share: 1 / total))
                roots.append((predicted, losses[losses.count - 1].gradient))
            }
            for (part, loss) in zip(sums.indices, losses) { sums[part] += loss.value }
            try backpropagate(roots, observer: number == examples.count - 1 ? observer : nil)
        }
        return sums
    }

    package func evaluate(_ examples: [VocoderExample]) throws -> [Double] {
        try Recording.paused {
            var sums = parts.map { _ in 0.0 }
            for example in examples {
                var losses = try losses(
                    of: vocoder.waveform(unitOfEachFrame: example.frames), example, share: 1)
                if learnsDurations {
                    losses.append(try durationLoss(vocoder.logDurations(of: example.units), example, share: 1))
                }
                for (part, loss) in zip(sums.indices, losses) { sums[part] += loss.value }
            }
            return sums
        }
    }

    private typealias Loss = (value: Double, gradient: Tensor)

    /// The losses of the waveform that have a weight, in the order of the parts.
    private func losses(of waveform: Tensor, _ example: VocoderExample, share: Double) throws -> [Loss] {
        let weights = parts.map { $0.weight * share }
        var losses: [Loss] = []
        if let mel {
            let loss = try mel(waveform, target: example.target, gradientScale: weights[0])
            losses.append((loss.value, try loss.gradient.reshaped(waveform.shape)))
        }
        if let stft {
            let loss = try stft(waveform, target: example.target, gradientScale: weights[losses.count])
            losses.append((loss.value, try loss.gradient.reshaped(waveform.shape)))
        }
        return losses
    }

    /// The mean over units of (p − log(1 + frames))², as fairseq trains its predictor.
    ///
    /// - Parameter predicted: p, [1, units]
    private func durationLoss(_ predicted: Tensor, _ example: VocoderExample, share: Double) throws -> Loss {
        let scale = 2 * share * (parts.last?.weight ?? 0) / Double(max(predicted.count, 1))
        let differences = zip(predicted.values, example.durations).map { Double($0) - log(1 + Double($1)) }
        let mean = differences.reduce(0) { $0 + $1 * $1 } / Double(max(differences.count, 1))
        return (mean, try Tensor(predicted.shape, differences.map { Float(scale * $0) }))
    }
}
