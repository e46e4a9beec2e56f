import LyraBase
import LyraTensor

/// A part of a loss: the mean of its terms (tokens, examples), times a weight.
public struct LossPart: Sendable, Equatable {
    /// As the log names it: "cross_entropy", "lcmr", "ctc".
    public let name: String
    public let weight: Double

    public init(_ name: String, weight: Double = 1) { (self.name, self.weight) = (name, weight) }
}

/// What a run minimizes: Σ weight · sum / total over the parts. `sum` and `total` are over the terms of all examples that
/// share an update, in all batches and processes.
///
/// The number of terms is known before the forward pass, so gradients are divided by the total at once, and gradients of
/// several batches and processes need only be added.
package protocol Objective {
    associatedtype Example: Sendable

    var parts: [LossPart] { get }

    /// The number of terms that an example adds to each part.
    func terms(of example: Example) -> [Int]

    /// Adds the gradients of Σ weight · sum / total to the gradients of the trained parameters.
    ///
    /// - Parameters:
    ///   - examples: one batch, not empty
    ///   - totals: the number of terms of each part in the whole update; a part without terms has no loss
    ///   - seed: of this batch's dropout
    ///   - observer: learns of each gradient once this batch adds nothing more to it
    /// - Returns: the sum of each part over the batch's terms, without its weight
    func differentiate(
        _ examples: [Example], totals: [Int], seed: UInt64, observer: (any GradientObserver)?
    ) throws -> [Double]

    /// The sum of each part, without dropout and gradients.
    func evaluate(_ examples: [Example]) throws -> [Double]
}

extension Objective {
    /// The same without an observer.
    package func differentiate(_ examples: [Example], totals: [Int], seed: UInt64) throws -> [Double] {
        try differentiate(examples, totals: totals, seed: seed, observer: nil)
    }
}
