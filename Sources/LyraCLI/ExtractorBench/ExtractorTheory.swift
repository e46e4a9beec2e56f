import LyraModel

/// The share of work that remains with the extractor, derived by counting.
///
/// With n blocks and a share ρ, the blocks compute 1, ρ, ρ², … of the media tokens. The counts here are those of the
/// actual layers, including text and rounding. A token costs the same in the matrices of every layer, so matrices need
/// the mean share of tokens over the layers. Each token attends to those before it, so attention needs the mean of the
/// squares. The cost of selecting tokens is left out.
struct ExtractorTheory {
    /// Share of the matrix operations, and of the bytes of keys and values.
    let linearShare: Double
    let attentionShare: Double
    /// Share of all operations.
    let prefillShare: Double

    /// - Parameters:
    ///   - tokens: number of tokens in the prompt
    ///   - perLayer: number of tokens that each layer computes
    init(_ language: DecoderConfiguration, tokens: Int, perLayer: [Int]) {
        let shares = perLayer.map { Double($0) / Double(tokens) }
        let count = Double(max(shares.count, 1))
        linearShare = shares.reduce(0, +) / count
        attentionShare = shares.reduce(0) { $0 + $1 * $1 } / count
        let linear = Double(tokens) * Self.matrixOperations(language)
        // Scores and the weighted sum of values take two operations each for every pair; half of the pairs are masked.
        let width = Double(language.heads * language.headDim)
        let attention = Double(language.layers) * 2 * Double(tokens) * Double(tokens) * width
        prefillShare = (linearShare * linear + attentionShare * attention) / (linear + attention)
    }

    /// Multiplications and additions of all layers' matrices for one token.
    private static func matrixOperations(_ language: DecoderConfiguration) -> Double {
        let hidden = language.hiddenSize
        let attention = 2 * hidden * (language.heads + language.kvHeads) * language.headDim
        return 2 * Double(language.layers * (attention + 3 * hidden * language.intermediateSize))
    }
}

/// Table 4 of arXiv 2412.09501: the 9B model on an A100, n = 4. Lengths are 2^11, 2^12, …. The baseline ends where
/// memory ran out.
enum PublishedExtractor {
    struct Row {
        let prefillSeconds: [Double]
        let tokensPerSecond: [Double]
    }

    static let firstExponent = 11

    private static let baseline = Row(
        prefillSeconds: [0.19, 0.33, 0.65, 1.47, 2.99], tokensPerSecond: [32.6, 30.8, 27.3, 25.3, 16.6])
    private static let rows: [(keep: Float, row: Row)] = [
        (
            0.8,
            Row(
                prefillSeconds: [0.17, 0.24, 0.44, 0.76, 1.60, 4.24, 10.2],
                tokensPerSecond: [32.7, 31.5, 31.8, 28.6, 22.7, 14.1, 8.37])
        ),
        (
            0.7,
            Row(
                prefillSeconds: [0.16, 0.21, 0.37, 0.59, 1.23, 3.05, 7.75],
                tokensPerSecond: [33.8, 33.3, 32.5, 30.1, 25.3, 16.6, 10.1])
        ),
    ]

    /// - Parameter keep: share kept; nil for the baseline
    /// - Returns: nil if the table has no entry
    static func figures(tokens: Int, keep: Float?) -> (prefill: Double, share: Double?, rate: Double)? {
        guard tokens > 0, tokens & (tokens - 1) == 0 else { return nil }
        let column = tokens.trailingZeroBitCount - firstExponent
        guard let row = keep.map({ keep in rows.first { $0.keep == keep }?.row }) ?? baseline,
            row.prefillSeconds.indices.contains(column)
        else { return nil }
        let full = baseline.prefillSeconds.indices.contains(column) ? baseline.prefillSeconds[column] : nil
        return (
            row.prefillSeconds[column], full.map { row.prefillSeconds[column] / $0 }, row.tokensPerSecond[column]
        )
    }
}
