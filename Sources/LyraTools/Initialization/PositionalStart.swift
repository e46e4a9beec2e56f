import Glibc
import LyraModel

/// The speech tower's sense of position before training: Whisper's sinusoids, and queries and keys that see them.
///
/// In a tower that starts from random attention every row averages the whole window. Near rows, which have the evidence
/// of a sound, are found only after long training. So queries and keys start as one random projection P:
/// q = P·x and k = P·x. For rows i and j of size 1 the expected score of a head of d rows is then
///
///     q·k / √d = √d · Σ σ²(c) · x(i, c) · x(j, c)      (c: columns, with deviation σ(c) in P)
///
/// The sinusoids sin(ω·i) and cos(ω·i) of a pair of columns contribute σ² · cos(ω·(i − j)): most for i = j. Frequencies
/// between 1/100 and 1/2 a row get a larger σ than the other columns. Lower ones are alike at all positions, higher
/// ones repeat among near ones; the sum over those between falls within a few rows and stays low. What a row hears
/// contributes likewise, so that rows with a similar sound are preferred too.
enum PositionalStart {
    /// How much higher the expected score of a row with itself is than with a far one, by position alone. e¹⁰ outweighs
    /// the 300 to 1500 rows of a window.
    private static let preference: Float = 10
    /// Radians a row.
    private static let frequencies: ClosedRange<Float> = 0.01...0.5
    /// Mean square of a row before its norm: 1 of the features, and 1/2 of the sinusoids, whose amplitude is 1.
    private static let meanSquare: Float = 1.5

    /// Frequency of each pair of columns, from 1 down to 1/10000: `sinusoids` of openai/whisper's model.py.
    static func pairFrequencies(width: Int) -> [Float] {
        let pairs = width / 2
        guard pairs > 1 else { return [Float](repeating: 1, count: pairs) }
        let step = log(10000.0) / Double(pairs - 1)
        return (0..<pairs).map { Float(exp(-step * Double($0))) }
    }

    /// Sines in the first half of the columns, cosines in the second; the last column of an odd width is 0.
    static func fillSinusoids(_ values: UnsafeMutablePointer<Float>, positions: Int, width: Int) {
        values.initialize(repeating: 0, count: positions * width)
        let frequencies = pairFrequencies(width: width)
        for position in 0..<positions {
            let row = values + position * width
            for (pair, frequency) in frequencies.enumerated() {
                let angle = Double(frequency) * Double(position)
                row[pair] = Float(sin(angle))
                row[frequencies.count + pair] = Float(cos(angle))
            }
        }
    }

    /// Deviation of the projection's columns: from `preference`, by the formula above, for the chosen frequencies;
    /// 1 / √width for the others, as in other matrices.
    static func deviations(_ whisper: WhisperConfiguration) -> [Float] {
        let frequencies = pairFrequencies(width: whisper.width)
        let chosen = frequencies.indices.filter { Self.frequencies.contains(frequencies[$0]) }
        var deviations = [Float](repeating: 1 / Float(whisper.width).squareRoot(), count: whisper.width)
        let headDim = Float(max(whisper.width / max(whisper.heads, 1), 1))
        let deviation = (preference * meanSquare / (headDim.squareRoot() * Float(max(chosen.count, 1)))).squareRoot()
        for pair in chosen {
            deviations[pair] = deviation
            deviations[frequencies.count + pair] = deviation
        }
        return deviations
    }
}
