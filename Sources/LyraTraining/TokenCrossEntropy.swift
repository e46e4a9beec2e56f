import LyraBase
import LyraModel
import LyraTensor

extension Decoder {
    /// Cross-entropy of the next tokens, a few rows of logits at a time, so that the logits of all rows never exist
    /// together. Adds the output head's gradient if the head is trained.
    ///
    /// - Parameters:
    ///   - hidden: hidden states after the final norm that predict a token, [rows, hidden]
    ///   - targets: one token for each row
    ///   - gradientScale: factor of the gradients: 1 / number of targets in the whole batch, for a mean
    /// - Returns: Σ −log p(target), and the gradient of gradientScale times it with respect to the hidden states
    /// - Throws: `LyraError.argument` if the number of targets is not that of the rows, or a target is not a token.
    package func crossEntropy(
        _ hidden: Tensor, targets: [Int32], adapter: Int?, gradientScale: Double
    ) throws -> (loss: LossSum, gradient: Tensor) {
        var loss = LossSum()
        var gradients: [Tensor] = []
        try forEachPass(hidden, targets: targets, adapter: adapter) { x, logits, targets in
            let result = try CrossEntropy.of(logits, targets: targets, gradientScale: gradientScale)
            loss += result.loss
            gradients.append(try propagateHead(result.gradient, x, adapter: adapter))
        }
        return (loss, try Tensor.stacking(gradients))
    }

    /// The same without a gradient.
    package func crossEntropy(_ hidden: Tensor, targets: [Int32], adapter: Int?) throws -> LossSum {
        var loss = LossSum()
        try forEachPass(hidden, targets: targets, adapter: adapter) { _, logits, targets in
            loss += try CrossEntropy.of(logits, targets: targets).loss
        }
        return loss
    }

    /// Whether each target is the likeliest token.
    func greedyChoices(_ hidden: Tensor, targets: [Int32], adapter: Int?) throws -> [Bool] {
        var isGreedy: [Bool] = []
        try forEachPass(hidden, targets: targets, adapter: adapter) { _, logits, targets in
            isGreedy += zip(logits.indicesOfLargest(), targets).map { $0 == Int($1) }
        }
        return isGreedy
    }

    private func forEachPass(
        _ hidden: Tensor, targets: [Int32], adapter: Int?,
        _ body: (_ hidden: Tensor, _ logits: consuming Tensor, _ targets: ArraySlice<Int32>) throws -> Void
    ) throws {
        // At most 32 MiB of logits, unless the vocabulary is so large that 256 rows take more.
        let rowsPerPass = max(256, (8 << 20) / max(configuration.vocabularySize, 1))
        for first in stride(from: 0, to: hidden.rows, by: rowsPerPass) {
            let range = first..<min(first + rowsPerPass, hidden.rows)
            let x = hidden.rows(range).detached
            let logits = try Recording.paused { try self.logits(x, adapter: adapter) }
            try body(x, logits, targets[min(first, targets.count)..<min(range.upperBound, targets.count)])
        }
    }
}
