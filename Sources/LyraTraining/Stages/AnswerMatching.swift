import LyraBase

/// An objective that can tell which examples a model answers exactly as the data do.
package protocol AnswerMatching {
    associatedtype Example

    /// The number of examples whose greedy answers are those of the data.
    func exactMatches(_ examples: [Example]) throws -> Int
}
