import LyraBase
import LyraTensor

/// A parameter that a run trains.
package struct TrainedParameter {
    /// Unique in the run.
    package let name: String
    package let parameter: TrainableParameter
    /// Index of the optimizer's group.
    package let group: Int

    package init(_ name: String, _ parameter: TrainableParameter, group: Int = 0) {
        (self.name, self.parameter, self.group) = (name, parameter, group)
    }
}

/// How a trainer updates its parameters.
package struct TrainerSettings: Sendable {
    /// How long a run is.
    package enum Length: Sendable, Equatable {
        case epochs(Int)
        /// Updates.
        case steps(Int)
    }

    package var groups: [Optimizer.Group]
    package var length: Length
    /// Batches of an update, of each process.
    package var accumulation = 1
    package var schedule = Schedule.Shape.cosine
    /// The share of the updates over which the learning rate rises.
    package var warmupShare = 0.0
    /// The longest norm of all gradients together.
    package var clipping = 1.0
    /// Updates in a row with a gradient that is not finite that stop the run.
    package var failureLimit = 10
    /// Of dropout.
    package var seed: UInt64 = 0
    /// Seconds from one saved state to the next.
    package var saveInterval = 600.0
    /// Updates from one validation to the next.
    package var validationInterval = 100
    /// Bytes of media of an update's batches that stay in memory, beside those of one batch, from the count of the
    /// loss's terms until they are computed. Batches beyond it are made twice.
    package var heldBytes = 1 << 30
    /// What an example needs so that the trained parameters have a gradient, for a message: "speech". Nil if every
    /// example has it.
    package var needed: String?

    package init(groups: [Optimizer.Group], length: Length) { (self.groups, self.length) = (groups, length) }
}

/// Examples that a run is validated on.
package struct ValidationSet<Source: BatchSource> {
    /// Starts again from its first batch for each validation.
    package let source: Source
    /// The names of shares of terms that are right, as the log has them; none if they are not asked for.
    package let accuracies: [String]
    /// The number of terms of a batch that are right, of all, for each name.
    package let countRight: ([Source.Example]) throws -> [LossSum]

    package init(
        _ source: Source, accuracies: [String] = [],
        countRight: @escaping ([Source.Example]) throws -> [LossSum] = { _ in [] }
    ) {
        (self.source, self.accuracies, self.countRight) = (source, accuracies, countRight)
    }
}

/// What a run reports after each update.
public struct TrainingProgress: Sendable {
    /// Updates so far, those included that were left out.
    public internal(set) var step: Int
    /// Updates of the whole run.
    public internal(set) var steps: Int
    /// Passes through the data so far, with a fraction.
    public internal(set) var epoch: Double
    /// Σ weight · mean of the parts, over all examples of the update; not finite if the update was left out for that,
    /// or if all its examples were bad.
    public internal(set) var loss: Double
    /// The mean of each part; a part without terms is absent.
    public internal(set) var parts: [(name: String, mean: Double)]
    /// Of the first group of parameters.
    public internal(set) var learningRate: Double
    /// Before clipping.
    public internal(set) var gradientNorm: Double
    /// Whether the update was left out because its gradient was not finite.
    public internal(set) var isLeftOut: Bool
    /// Examples, and their prompt rows and tokens, of the whole run so far.
    public internal(set) var examples: Int
    public internal(set) var tokens: Int
    /// Of this update.
    public internal(set) var examplesPerSecond: Double
    public internal(set) var tokensPerSecond: Double
    /// Training time so far, that before a resumption included.
    public internal(set) var seconds: Double
    /// Examples that were left out so far because a file was missing, damaged, or did not fit.
    public internal(set) var skippedExamples: Int
    /// Updates that were left out so far because a gradient was not finite.
    public internal(set) var skippedUpdates: Int
    /// Of the validation after this update; nil if there was none.
    public internal(set) var validation: ValidationResult?

    /// Whether the update had a gradient to follow.
    var hasChanged: Bool { !isLeftOut && gradientNorm > 0 }
}

/// Losses on the validation set.
public struct ValidationResult: Sendable {
    public internal(set) var loss: Double
    /// The mean of each part; a part without terms is absent.
    public internal(set) var parts: [(name: String, mean: Double)]
    /// Shares of what is right, if they were asked for: `exact_match`, of examples that are answered exactly as in the
    /// data; `accuracy_NAME`, of a tower's head: of rows, or of sequences without any fault.
    public internal(set) var accuracies: [(name: String, share: Double)]
    /// The share of examples that are answered exactly as in the data; nil if it was not asked for.
    public var exactMatch: Double? { accuracies.first { $0.name == "exact_match" }?.share }
    /// Whether the loss is the least so far.
    public internal(set) var isBest: Bool
}

/// What a run does next.
public enum TrainingDecision: Sendable {
    case proceed
    /// Save the state, and go on.
    case save
    /// Save the state, and end the run.
    case stop
}

/// How a run ended.
public enum TrainingOutcome: Sendable, Equatable {
    case finished
    /// The callback stopped it.
    case stopped
    /// Its `Interruption` was raised.
    case interrupted
}
