import CKernels
import LyraBase
import LyraTensor

/// Cross-entropy of rows of logits with one target each: Σ −log softmax(row)[target].
public enum CrossEntropy {
    /// A row with this target does not count.
    public static let ignored: Int32 = -100

    public struct Result: Sendable {
        /// The sum over the rows that count, and their number. NaN if such a row has NaN, +∞, or nothing but −∞.
        public let loss: LossSum
        /// The gradient of gradientScale · sum with respect to the logits, [rows, classes]; 0 in ignored rows.
        public let gradient: Tensor
    }

    /// Sums can be added, so a long sequence can be computed a few rows at a time, without all its logits in memory.
    ///
    /// - Parameters:
    ///   - logits: scores before softmax, [rows, classes]; the gradient takes their memory if no other tensor shares it
    ///   - targets: a class for each row, or `ignored`
    ///   - gradientScale: 1 / number of rows that count in the whole batch, for a mean
    /// - Throws: `LyraError.argument` if the number of targets is not that of the rows, or one is not a class;
    ///   `.memory` if there is no room, `.state` if interrupted.
    public static func of(
        _ logits: consuming Tensor, targets: some Collection<Int32>, gradientScale: Double = 1
    ) throws -> Result {
        var gradient = logits
        let (rows, classes) = (gradient.rows, gradient.columns)
        let places = try checked(targets, rows: rows, classes: classes)
        let losses = try GrowingBuffer(repeating: 0.0, count: rows)
        try gradient.withMutableValues { values in
            lk_cross_entropy(
                values, classes, rows, classes, places.elements.baseAddress, Float(gradientScale),
                losses.elements.baseAddress)
        }
        let counted = places.reduce(0) { $0 + ($1 >= 0 ? 1 : 0) }
        return Result(loss: LossSum(sum: losses.reduce(0, +), count: counted), gradient: gradient)
    }

    /// The targets as the kernel takes them, −1 for `ignored`.
    private static func checked(
        _ targets: some Collection<Int32>, rows: Int, classes: Int
    ) throws -> GrowingBuffer<Int32> {
        guard targets.count == rows else {
            throw LyraError(.argument, "cross-entropy: \(targets.count) targets for \(rows) rows of logits")
        }
        let places = GrowingBuffer<Int32>()
        try places.reserve(rows)
        for (row, target) in targets.enumerated() {
            guard target == ignored || (target >= 0 && Int(target) < classes) else {
                throw LyraError(
                    .argument,
                    "cross-entropy: the target of row \(row) is \(target); it must be 0 to \(classes - 1), or "
                        + "\(ignored) for a row that does not count")
            }
            try places.append(target == ignored ? -1 : target)
        }
        return places
    }
}
