import LyraBase

/// An objective that can count how often a model is right.
package protocol RightCounting {
    associatedtype Example

    /// Names of shares, as the log has them.
    var accuracies: [String] { get }

    /// The number of terms that are right, of all, for each name.
    func countRight(_ examples: [Example]) throws -> [LossSum]
}

/// An objective that can tell which examples a model answers exactly as the data do.
package protocol AnswerMatching: RightCounting {
    /// The number of examples whose greedy answers are those of the data.
    func exactMatches(_ examples: [Example]) throws -> Int
}

extension AnswerMatching {
    package var accuracies: [String] { ["exact_match"] }

    package func countRight(_ examples: [Example]) throws -> [LossSum] {
        [LossSum(sum: Double(try exactMatches(examples)), count: examples.count)]
    }
}
