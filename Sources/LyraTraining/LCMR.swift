import Glibc
import LyraBase
import LyraTensor

/// The latent cross-modality regularizer (LCMR, arXiv 2412.09501, section 3.2): pulls the tokens of speech to the
/// embeddings of its transcript.
///
/// For speech S [n, hidden] and text T [m, hidden] the costs are D = −log softmax(S·Tᵀ / τ) [n, m], with the softmax
/// over the text. The loss is softDTW(D) / n. Costs and recursions are in double precision: in floats the loss would
/// miss four digits.
public struct CrossModalityRegularizer: Sendable {
    /// τ (`align_temperature`).
    public let temperature: Double
    /// γ of soft-DTW.
    public let gamma: Double

    /// - Throws: `LyraError.argument` if a number is not finite or not above 0.
    public init(temperature: Double = 0.06, gamma: Double = 0.1) throws {
        for (name, value) in [("temperature", temperature), ("gamma", gamma)] {
            guard value > 0, value.isFinite else {
                throw LyraError(.argument, "LCMR: the \(name) is \(value); it must be a finite number above 0")
            }
        }
        (self.temperature, self.gamma) = (temperature, gamma)
    }

    /// The loss of one example, and the gradients of gradientScale · loss.
    public struct Result: Sendable {
        public let loss: Double
        /// [n, hidden]
        public let speechGradient: Tensor
        /// [m, hidden]; nil if it was not requested
        public let textGradient: Tensor?
    }

    /// - Parameters:
    ///   - speech: prompt rows of the speech, [n, hidden]
    ///   - text: embeddings of the transcript, [m, hidden]
    ///   - wantsTextGradient: false where the embeddings are frozen
    /// - Throws: `LyraError.argument` if one has no rows or their columns differ; `.memory` if there is no room,
    ///   `.state` if interrupted.
    public func callAsFunction(
        speech: Tensor, text: Tensor, gradientScale: Double = 1, wantsTextGradient: Bool = true
    ) throws -> Result {
        try check(speech, text)
        let costs = try costs(speech, text)
        let (value, alignment) = try SoftDTW(gamma: gamma)(costs, rows: speech.rows, columns: text.rows)
        let scale = gradientScale / (Double(speech.rows) * temperature)
        differentiate(alignment, costs, scale: scale, rows: speech.rows, columns: text.rows)
        return Result(
            loss: value / Double(speech.rows),
            speechGradient: try sums(of: text, count: speech.rows) { alignment[$0 + 1, $1 + 1] },
            textGradient: wantsTextGradient
                ? try sums(of: speech, count: text.rows) { alignment[$1 + 1, $0 + 1] } : nil)
    }

    /// The loss alone.
    ///
    /// - Throws: as with gradients.
    public func loss(speech: Tensor, text: Tensor) throws -> Double {
        try check(speech, text)
        let value = try SoftDTW(gamma: gamma).value(costs(speech, text), rows: speech.rows, columns: text.rows)
        return value / Double(speech.rows)
    }

    private func check(_ speech: Tensor, _ text: Tensor) throws {
        guard speech.count > 0, text.count > 0, speech.columns == text.columns else {
            throw LyraError(
                .argument, "LCMR: speech \(speech.shape) and text \(text.shape) need rows of the same length")
        }
    }

    /// D = −log softmax(S·Tᵀ / τ), in a border.
    private func costs(_ speech: Tensor, _ text: Tensor) throws -> SoftDTW.Bordered {
        let (rows, columns, hidden) = (speech.rows, text.rows, speech.columns)
        let costs = try SoftDTW.Bordered(repeating: 0, rows: rows, columns: columns)
        try speech.withValues { speech in
            try text.withValues { text in
                for row in 0..<rows {
                    try Interruption.check()
                    var largest = -Double.infinity
                    for column in 0..<columns {
                        let product = dotProduct(speech + row * hidden, text + column * hidden, hidden) / temperature
                        costs[row + 1, column + 1] = product
                        largest = max(largest, product)
                    }
                    let sum = (1...columns).reduce(0) { $0 + exp(costs[row + 1, $1] - largest) }
                    let logSum = largest + log(sum)
                    for column in 1...columns { costs[row + 1, column] = logSum - costs[row + 1, column] }
                }
            }
        }
        return costs
    }

    /// Turns the derivatives E with respect to the costs into `scale` times those with respect to the softmax's input
    /// z: ∂L/∂z[i, j] = p[i, j] · Σ_k E[i, k] − E[i, j], where p = softmax z = e^−D.
    private func differentiate(
        _ alignment: SoftDTW.Bordered, _ costs: SoftDTW.Bordered, scale: Double, rows: Int, columns: Int
    ) {
        for row in 1...rows {
            let total = (1...columns).reduce(0) { $0 + alignment[row, $1] }
            for column in 1...columns {
                let share = exp(-costs[row, column]) * total
                alignment[row, column] = scale * (share - alignment[row, column])
            }
        }
    }

    /// Weighted sums of rows: result[i] = Σ_j weight(i, j) · matrix[j]. [count, columns of the matrix]
    private func sums(of matrix: Tensor, count: Int, weight: (_ row: Int, _ term: Int) -> Double) throws -> Tensor {
        let columns = matrix.columns
        let sum = try GrowingBuffer(repeating: 0.0, count: columns)
        return try Tensor([count, columns]) { result in
            try matrix.withValues { values in
                for row in 0..<count {
                    try Interruption.check()
                    sum.elements.update(repeating: 0)
                    for term in 0..<matrix.rows {
                        addScaled(sum.elements, weight(row, term), values + term * columns)
                    }
                    for column in 0..<columns { result[row * columns + column] = Float(sum.elements[column]) }
                }
            }
        }
    }
}

// MARK: - Batches

extension CrossModalityRegularizer {
    public struct Batch: Sendable {
        /// The sum over examples that have a transcript, and their number. λ is not in it.
        public let loss: LossSum
        /// One for each example; nil where there is no transcript.
        public let results: [Result?]
    }

    /// The regularizer of a batch, λ · Σ loss / count: an example without a transcript, or with an empty one, is not
    /// counted.
    ///
    /// - Parameters:
    ///   - examples: as for one example
    ///   - weight: λ, the loss's share of the total
    ///   - count: examples with a transcript in all batches that share one update, in every process; by default those
    ///     of this batch. The gradients are divided by it.
    public func batch(
        _ examples: [(speech: Tensor, text: Tensor?)], weight: Double, count: Int? = nil,
        wantsTextGradient: Bool = true
    ) throws -> Batch {
        let transcribed = examples.count { ($0.text?.rows ?? 0) > 0 }
        let scale = weight / Double(max(count ?? transcribed, 1))
        let results = try examples.map { example -> Result? in
            guard let text = example.text, text.rows > 0 else { return nil }
            return try self(
                speech: example.speech, text: text, gradientScale: scale, wantsTextGradient: wantsTextGradient)
        }
        let sum = results.reduce(0) { $0 + ($1?.loss ?? 0) }
        return Batch(loss: LossSum(sum: sum, count: transcribed), results: results)
    }
}

// MARK: - Sums in double precision

/// Σ a[i] · b[i]
private func dotProduct(_ a: UnsafePointer<Float>, _ b: UnsafePointer<Float>, _ count: Int) -> Double {
    // Four sums, so that the processor need not wait for one addition before the next.
    var (s0, s1, s2, s3) = (0.0, 0.0, 0.0, 0.0)
    var i = 0
    while i &+ 4 <= count {
        s0 += Double(a[i]) * Double(b[i])
        s1 += Double(a[i &+ 1]) * Double(b[i &+ 1])
        s2 += Double(a[i &+ 2]) * Double(b[i &+ 2])
        s3 += Double(a[i &+ 3]) * Double(b[i &+ 3])
        i &+= 4
    }
    while i < count {
        s0 += Double(a[i]) * Double(b[i])
        i &+= 1
    }
    return (s0 + s1) + (s2 + s3)
}

/// sum += factor · values
private func addScaled(_ sum: UnsafeMutableBufferPointer<Double>, _ factor: Double, _ values: UnsafePointer<Float>) {
    for i in 0..<sum.count { sum[i] += factor * Double(values[i]) }
}
