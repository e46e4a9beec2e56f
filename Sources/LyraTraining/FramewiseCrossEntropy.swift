import LyraBase
import LyraTensor

/// Cross-entropy of a speech unit for every frame, for targets that say which frames a unit lasts: the mean over the
/// example's labelled frames, as CTC's loss is a mean over its targets.
public enum FramewiseCrossEntropy {
    public struct Result: Sendable {
        /// The mean over the frames with a label; nil if none has one, and the gradient is then 0.
        public let loss: Double?
        /// The gradient of gradientScale · loss with respect to the logits, [frames, classes]
        public let gradient: Tensor
    }

    /// - Parameters:
    ///   - logits: scores before softmax, [frames, classes]; the gradient takes their memory if no other tensor
    ///     shares it
    ///   - labels: a class for each frame, or `CrossEntropy.ignored`
    /// - Throws: as `CrossEntropy.of`.
    public static func of(
        _ logits: consuming Tensor, labels: some Collection<Int32>, gradientScale: Double = 1
    ) throws -> Result {
        let labelled = labels.count { $0 != CrossEntropy.ignored }
        let result = try CrossEntropy.of(
            logits, targets: labels, gradientScale: gradientScale / Double(max(labelled, 1)))
        return Result(loss: result.loss.mean, gradient: result.gradient)
    }
}
