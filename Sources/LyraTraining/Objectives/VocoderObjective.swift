import Glibc
import LyraBase
import LyraModel
import LyraTensor

/// Trains a vocoder from nothing: the difference of log-mel spectrograms, the multi-resolution STFT loss, and the
/// squared error of log(1 + frames) of the units. Each is a mean over examples. There is no adversary, so voices are
/// duller than those of a vocoder that was trained with one.
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
        for first in stride(from: 0, to: examples.count, by: Self.examplesPerPass) {
            try Interruption.check()
            let pass = Array(examples[first..<min(first + Self.examplesPerPass, examples.count)])
            let made = try made(pass)
            var roots: [(result: Tensor, gradient: Tensor)] = []
            for (made, losses) in zip(made, try losses(of: made, pass, share: 1 / total)) {
                for (part, loss) in zip(sums.indices, losses) { sums[part] += loss.value }
                roots += losses.dropLast(made.logDurations == nil ? 0 : 1).map { (made.waveform, $0.gradient) }
                if let logs = made.logDurations, let last = losses.last { roots.append((logs, last.gradient)) }
            }
            try backpropagate(roots, observer: first + pass.count == examples.count ? observer : nil)
        }
        return sums
    }

    package func evaluate(_ examples: [VocoderExample]) throws -> [Double] {
        try Recording.paused {
            var sums = parts.map { _ in 0.0 }
            for first in stride(from: 0, to: examples.count, by: Self.examplesPerPass) {
                let pass = Array(examples[first..<min(first + Self.examplesPerPass, examples.count)])
                for losses in try losses(of: made(pass), pass, share: 1) {
                    for (part, loss) in zip(sums.indices, losses) { sums[part] += loss.value }
                }
            }
            return sums
        }
    }

    /// Examples whose gradients are computed together: a few, because of the memory. A piece of 32 frames takes 90 MB
    /// in the published vocoder.
    private static let examplesPerPass = 4

    /// What the vocoder makes of an example.
    private struct Made: Sendable {
        /// [1, samples]
        let waveform: Tensor
        /// [1, units]; nil if the durations are not learned
        let logDurations: Tensor?
    }

    private func made(_ examples: [VocoderExample]) throws -> [Made] {
        let waveforms = try vocoder.waveforms(ofFrames: examples.map(\.frames))
        return try zip(examples, waveforms).map { example, waveform in
            Made(waveform: waveform, logDurations: learnsDurations ? try vocoder.logDurations(of: example.units) : nil)
        }
    }

    private typealias Loss = (value: Double, gradient: Tensor)

    /// The losses of each example, in the order of the parts. The examples' are computed side by side, because the
    /// spectra of one use one thread.
    private func losses(of made: [Made], _ examples: [VocoderExample], share: Double) throws -> [[Loss]] {
        let made = made.map { Made(waveform: $0.waveform.detached, logDurations: $0.logDurations?.detached) }
        return try concurrentMap(made.count) { try losses(of: made[$0], examples[$0], share: share) }
    }

    private func losses(of made: Made, _ example: VocoderExample, share: Double) throws -> [Loss] {
        let weights = parts.map { $0.weight * share }, waveform = made.waveform
        var losses: [Loss] = []
        func add(_ loss: WaveformLoss) throws {
            losses.append((loss.value, try loss.gradient.reshaped(waveform.shape)))
        }
        if let mel { try add(mel(waveform, target: example.target, gradientScale: weights[0])) }
        if let stft { try add(stft(waveform, target: example.target, gradientScale: weights[losses.count])) }
        if let logs = made.logDurations { losses.append(try durationLoss(logs, example, share: share)) }
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
