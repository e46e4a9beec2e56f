/// The fewest substitutions, deletions and insertions of words that turn a reference into a hypothesis.
package struct WordErrors: Equatable, Sendable {
    /// Number of words in the reference.
    package var words = 0
    package var substitutions = 0
    package var deletions = 0
    package var insertions = 0

    package var errors: Int { substitutions + deletions + insertions }
    /// (S + D + I) / N; nil if the reference has no words.
    package var rate: Double? { words > 0 ? Double(errors) / Double(words) : nil }

    package init() {}

    /// Aligns two texts in O(m · n) time and O(m + n) memory. Of equally good alignments, uses the one with most
    /// substitutions.
    package init(reference: [String], hypothesis: [String]) {
        let (reference, hypothesis) = Self.numbered(reference, hypothesis)
        // Errors between the words of the reference so far and each prefix of the hypothesis.
        var row = (0...hypothesis.count).map { count in
            var errors = WordErrors()
            errors.insertions = count
            return errors
        }
        for word in reference {
            var diagonal = row[0]
            row[0].deletions += 1
            for (column, other) in hypothesis.enumerated() {
                var best = diagonal
                diagonal = row[column + 1]
                if word != other { best.substitutions += 1 }
                if diagonal.errors + 1 < best.errors {
                    best = diagonal
                    best.deletions += 1
                }
                if row[column].errors + 1 < best.errors {
                    best = row[column]
                    best.insertions += 1
                }
                row[column + 1] = best
            }
        }
        self = row[hypothesis.count]
        words = reference.count
    }

    package static func += (total: inout WordErrors, line: WordErrors) {
        total.words += line.words
        total.substitutions += line.substitutions
        total.deletions += line.deletions
        total.insertions += line.insertions
    }

    /// The number of errors, for long texts. Searches only alignments within a limit of errors, and doubles the limit
    /// until it suffices.
    package static func distance(_ reference: [String], _ hypothesis: [String]) -> Int {
        let (reference, hypothesis) = numbered(reference, hypothesis)
        var limit = max(64, abs(reference.count - hypothesis.count))
        while true {
            let found = distance(reference, hypothesis, within: limit)
            if found <= limit { return found }
            limit *= 2
        }
    }

    /// Words as numbers, which compare faster.
    private static func numbered(_ a: [String], _ b: [String]) -> ([Int32], [Int32]) {
        var numbers: [String: Int32] = [:]
        func number(_ word: String) -> Int32 {
            if let number = numbers[word] { return number }
            let number = Int32(truncatingIfNeeded: numbers.count)
            numbers[word] = number
            return number
        }
        return (a.map(number), b.map(number))
    }

    /// The number of errors if it is at most `limit`; otherwise any number above `limit`.
    private static func distance(_ reference: [Int32], _ hypothesis: [Int32], within limit: Int) -> Int {
        // An alignment that leaves the band around the diagonal has more errors than the limit.
        let far = limit + 1
        var row = (0...hypothesis.count).map { $0 <= limit ? $0 : far }
        for (line, word) in reference.enumerated() {
            let first = max(0, line + 1 - limit), last = min(hypothesis.count, line + 1 + limit)
            guard first <= last else { return far }
            // The cell left of the band is the previous line's: valid as `diagonal`, not as `left`.
            var diagonal = first > 0 ? row[first - 1] : row[0]
            var left = far
            if first == 0 {
                left = min(line + 1, far)
                row[0] = left
            }
            for column in max(first, 1)..<max(last + 1, 1) {
                let swap = diagonal + (word == hypothesis[column - 1] ? 0 : 1)
                diagonal = row[column]
                left = min(swap, min(diagonal, left) + 1, far)
                row[column] = left
            }
        }
        return row[hypothesis.count]
    }
}
