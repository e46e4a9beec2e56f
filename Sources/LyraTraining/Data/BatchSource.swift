import LyraBase

/// Batches of examples, epoch after epoch, in an order that follows from a seed. The order does not depend on how long
/// files take to be read.
package protocol BatchSource: AnyObject {
    associatedtype Example: Sendable

    /// Batches of an epoch that this process computes; the same in every process.
    var batchesPerEpoch: Int { get }

    /// The number of batches given out or passed over since the first epoch began. Setting it continues from there.
    var position: Int { get }
    func move(to position: Int) throws

    /// The next batch, without the examples that turned out bad; empty if all of them did.
    ///
    /// - Throws: `LyraError` if the list of examples cannot be read; `.state` if interrupted.
    func next() throws -> [Example]

    /// Examples that were left out so far. A batch that is given out again is not counted again.
    var skipped: SkippedExamples { get }

    /// Judges how many examples are bad, those of all processes together: so all come to the same decision.
    ///
    /// - Parameters:
    ///   - bad: of the `seen` examples of the run
    ///   - endsEpoch: whether an epoch has just ended; in its middle, more examples are needed to judge
    /// - Throws: `LyraError.format`, with the first reasons of this process, if more are bad than the run allows.
    func checkShare(bad: Int, of seen: Int, endsEpoch: Bool) throws
}

/// Examples that were left out of training because a file was missing, damaged, or did not fit.
public struct SkippedExamples: Sendable, Equatable {
    public internal(set) var count = 0
    /// Examples that were used or left out.
    public internal(set) var seen = 0
    /// About as many as were seen before the run was resumed.
    public internal(set) var passed = 0
    /// The first reasons, in the order in which they were met.
    private var groups: [Reason] = []

    /// Why examples were left out.
    private struct Reason: Sendable, Equatable {
        let text: String
        /// Of the first example.
        let place: String
        var count = 1
    }

    /// How many reasons are kept.
    static let reasonLimit = 20

    public init() {}

    /// The first reasons, each once: with the place of the first example in its file, and the number of others.
    public var reasons: [String] {
        groups.map { reason in
            let others = reason.count - 1
            guard !reason.place.isEmpty else { return reason.text + (others > 0 ? " (\(reason.count) times)" : "") }
            return reason.place + (others > 0 ? " and \(others) more" : "") + ": " + reason.text
        }
    }

    /// Counts an example.
    ///
    /// - Parameters:
    ///   - place: of the example in its file, if it is known
    ///   - reason: may begin with the place
    mutating func add(_ reason: String, at place: String = "") {
        count += 1
        let start = place + ": "
        let isAtStart = !place.isEmpty && reason.hasPrefix(start)
        let text = isAtStart ? String(reason.dropFirst(start.count)) : reason
        if let index = groups.firstIndex(where: { $0.text == text }) {
            groups[index].count += 1
        } else if groups.count < Self.reasonLimit {
            groups.append(Reason(text: text, place: isAtStart ? place : ""))
        }
    }
}
