import LyraBase

/// Counts examples that are left out because a file is missing or damaged, and ends the work when there are too many.
package struct BadExamples {
    private let share: Double
    private let total: Int
    private let note: (String) -> Void
    package private(set) var count = 0
    private var first = ""

    /// - Parameters:
    ///   - share: largest share of bad examples, 0…1
    ///   - total: all examples, bad or not
    ///   - note: receives the reason for each
    package init(allowing share: Double, of total: Int, note: @escaping (String) -> Void) {
        (self.share, self.total, self.note) = (share, total, note)
    }

    /// - Throws: `LyraError.format` if too many are bad.
    package mutating func add(_ reason: String) throws {
        if count == 0 { first = reason }
        count += 1
        note(reason)
        guard Double(count) > share * Double(total) else { return }
        let limit = (share * 10_000).rounded() / 100
        throw LyraError(
            .format,
            "\(count) of \(total) are missing or damaged, more than --max-bad allows (\(limit) %); nothing was "
                + "written. The first: \(first)")
    }

    /// Whether an error is about one file, so that the work can continue with the next.
    package static func isOfFile(_ error: LyraError) -> Bool {
        [.io, .format, .missing, .unsupported].contains(error.code)
    }
}
