import Glibc
import LyraBase

/// Triangular filters from frequency bins to mel bands, on Slaney's mel scale and with his area normalisation
/// (Auditory Toolbox, 1998; the numbers are those of transformers' `mel_filter_bank`).
package struct MelFilterBank: Sendable {
    /// One band: a range of bins, and the range of their weights in `weights`.
    package struct Band: Sendable {
        package let firstBin: Int
        fileprivate let weights: Range<Int>
    }

    package let bands: [Band]
    private let weights = GrowingBuffer<Double>()

    package func weights(of band: Band) -> UnsafeBufferPointer<Double> {
        UnsafeBufferPointer(rebasing: weights.elements[band.weights])
    }

    /// WhisperFeatureExtractor's filters reach from 0 to 8000 Hz at any sample rate.
    package static let highestFrequency = 8000.0

    /// - Parameters:
    ///   - bins: Frequency bins, from 0 Hz to half the sample rate; at least 2.
    ///   - sampleRate: In Hz.
    ///   - highestFrequency: Where the last filter ends, in Hz.
    /// - Throws: `LyraError(.memory)`.
    package init(
        melCount: Int, bins: Int, sampleRate: Int, highestFrequency: Double = MelFilterBank.highestFrequency
    ) throws {
        let highestMel = Self.mel(hertz: highestFrequency)
        let edges = (0..<melCount + 2).map { Self.hertz(mel: highestMel * Double($0) / Double(melCount + 1)) }
        let spacing = Double(sampleRate / 2) / Double(bins - 1)
        let weights = weights
        bands = try (0..<melCount).map { band in
            let (low, centre, high) = (edges[band], edges[band + 1], edges[band + 2])
            let height = 2 / (high - low)
            var firstBin = 0
            let before = weights.count
            for bin in 0..<bins {
                let frequency = Double(bin) * spacing
                let weight = min((frequency - low) / (centre - low), (high - frequency) / (high - centre))
                guard weight > 0 else { continue }
                if weights.count == before { firstBin = bin }
                try weights.append(weight * height)
            }
            return Band(firstBin: firstBin, weights: before..<weights.count)
        }
    }

    // Linear to 1000 Hz (15 mel), logarithmic above: 27 mel for each factor of 6.4.
    private static let melsPerLog = 27 / log(6.4)

    private static func mel(hertz: Double) -> Double {
        hertz < 1000 ? hertz * 3 / 200 : 15 + log(hertz / 1000) * melsPerLog
    }

    private static func hertz(mel: Double) -> Double {
        mel < 15 ? mel * 200 / 3 : 1000 * exp((mel - 15) / melsPerLog)
    }
}
