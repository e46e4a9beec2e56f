import Glibc
import LyraBase
import LyraTensor

/// Connectionist temporal classification (Graves and others, 2006): −log of the probability that the frames spell the
/// targets, summed over all paths, divided by the number of targets. The blank is the last class.
public struct CTCLoss: Sendable {
    /// Whether consecutive equal targets count as one, as speech units do; otherwise a blank must part them.
    public let collapsesTargets: Bool

    public init(collapsesTargets: Bool = true) { self.collapsesTargets = collapsesTargets }

    public enum Outcome: Sendable {
        /// The loss, and the gradient of gradientScale · loss with respect to the logits, [frames, classes]. If the
        /// logits leave no path any probability, the loss is infinite and the gradient 0. Both are NaN if a row of
        /// logits has NaN, +∞, or nothing but −∞.
        case loss(Double, gradient: Tensor)
        /// The targets need more frames than there are: a bad example, to be left out and counted.
        case tooFewFrames(needed: Int, present: Int)
    }

    /// - Parameters:
    ///   - logits: scores before softmax, [frames, classes]; the gradient takes their memory if no other tensor
    ///     shares it
    ///   - targets: classes, none of them the blank; if empty, all frames should be blank, and the divisor is 1
    /// - Throws: `LyraError.argument` for a target that is not a class or is the blank, or without classes; `.memory`
    ///   if there is no room, `.state` if interrupted.
    public func callAsFunction(
        _ logits: consuming Tensor, targets: [Int32], gradientScale: Double = 1
    ) throws -> Outcome {
        let (frames, classes) = (logits.rows, logits.columns)
        guard classes > 0 else { throw LyraError(.argument, "CTC: logits \(logits.shape) have no class") }
        let targets = spelled(targets)
        if let wrong = targets.first(where: { $0 < 0 || Int($0) >= classes - 1 }) {
            throw LyraError(
                .argument, "CTC: a target is \(wrong); with \(classes) classes it must be 0 to \(classes - 2)")
        }
        let needed = Self.framesNeeded(by: targets)
        guard needed <= frames else { return .tooFewFrames(needed: needed, present: frames) }
        guard frames > 0 else { return .loss(0, gradient: logits) }
        let divisor = Double(max(targets.count, 1))
        let lattice = CTCLattice(targets: targets, blank: classes - 1, frames: frames, classes: classes)
        var gradient = logits
        let loss = try gradient.withMutableValues { try lattice.differentiate($0, scale: gradientScale / divisor) }
        return .loss(loss / divisor, gradient: gradient)
    }

    private func spelled(_ targets: [Int32]) -> [Int32] { collapsesTargets ? Self.collapsed(targets) : targets }

    /// Without consecutive repetitions.
    public static func collapsed(_ targets: [Int32]) -> [Int32] {
        targets.indices.filter { $0 == 0 || targets[$0] != targets[$0 - 1] }.map { targets[$0] }
    }

    /// Frames of the shortest path: one for each target, and a blank between equal neighbours.
    public static func framesNeeded(by targets: [Int32]) -> Int {
        targets.count + zip(targets, targets.dropFirst()).count { $0 == $1 }
    }
}

// MARK: - Batches

extension CTCLoss {
    public struct Batch: Sendable {
        /// The sum over the examples that fit, and their number.
        public let loss: LossSum
        /// One for each example.
        public let outcomes: [Outcome]
        /// Examples that do not fit.
        public let skipped: Int
    }

    /// The loss of a batch, Σ loss / count over the examples that fit.
    ///
    /// - Parameters:
    ///   - examples: as for one example
    ///   - count: examples that fit in all batches that share one update, in every process; by default those of this
    ///     batch. The gradients are divided by it.
    public func batch(
        _ examples: consuming [(logits: Tensor, targets: [Int32])], count: Int? = nil
    ) throws -> Batch {
        let fitting = examples.count { Self.framesNeeded(by: spelled($0.targets)) <= $0.logits.rows }
        let scale = 1 / Double(max(count ?? fitting, 1))
        var outcomes: [Outcome] = []
        var sum = 0.0
        for index in examples.indices {
            let outcome = try self(
                examples[index].logits.take(), targets: examples[index].targets, gradientScale: scale)
            if case .loss(let loss, _) = outcome { sum += loss }
            outcomes.append(outcome)
        }
        return Batch(
            loss: LossSum(sum: sum, count: fitting), outcomes: outcomes, skipped: examples.count - fitting)
    }
}
