import Glibc
import LyraBase

/// The learning rate over the steps of a run, as a factor of a group's rate: first rises in a line from 0 to 1
/// (warm-up), then falls to 0 or stays. The numbers are those of transformers' schedules of the same names.
public struct Schedule: Sendable, Equatable {
    public enum Shape: String, Sendable, CaseIterable {
        /// ½ (1 + cos πp), where p is the share of the steps after the warm-up that are done
        case cosine
        /// 1 − p
        case linear
        /// 1
        case constant
    }

    public let shape: Shape
    /// Updates of the whole run.
    public let steps: Int
    public let warmupSteps: Int

    /// The most steps that a run can have: all numbers up to it are exact in double precision.
    private static let stepLimit = 1 << 53

    /// - Parameters:
    ///   - steps: of the whole run, the warm-up included
    ///   - warmupShare: the share of the steps that are warm-up, 0 to 1; a part of a step counts as a step
    /// - Throws: `LyraError.argument` if a number is out of range.
    public init(_ shape: Shape, steps: Int, warmupShare: Double = 0) throws {
        guard (1...Self.stepLimit).contains(steps) else {
            throw LyraError(.argument, "schedule: \(steps) steps; there must be 1 to 2^53")
        }
        guard (0...1).contains(warmupShare) else {
            throw LyraError(.argument, "schedule: the warm-up's share is \(warmupShare); it must be 0 to 1")
        }
        self.shape = shape
        self.steps = steps
        warmupSteps = Int((Double(steps) * warmupShare).rounded(.up))
    }

    /// The factor of the update after `step` updates; the first is number 0, and its factor is 0 if there is a warm-up.
    /// After the run's last step the factor stays as at its end.
    public func factor(at step: Int) -> Double {
        let step = min(max(step, 0), steps)
        if step < warmupSteps { return Double(step) / Double(warmupSteps) }
        let length = Double(max(1, steps - warmupSteps))
        switch shape {
        case .cosine: return 0.5 * (1 + cos(.pi * Double(step - warmupSteps) / length))
        case .linear: return Double(steps - step) / length
        case .constant: return 1
        }
    }
}
