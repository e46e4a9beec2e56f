/// How one text differs from another, in words: the fewest substitutions, deletions and insertions that turn the
/// reference into the hypothesis.
package struct WordErrors: Equatable, Sendable {
    package var words = 0
    package var substitutions = 0
    package var deletions = 0
    package var insertions = 0

    package var errors: Int { substitutions + deletions + insertions }
    /// (S + D + I) / N; nil if the reference has no words.
    package var rate: Double? { words > 0 ? Double(errors) / Double(words) : nil }

    package init() {}

    /// Aligns two texts in time and memory of their lengths' product and sum. Of equally good alignments it takes the
    /// one with most substitutions.
    package init(reference: [String], hypothesis: [String]) {
        let (reference, hypothesis) = Self.numbered(reference, hypothesis)
        // Of the reference's beginning against every beginning of the hypothesis.
        var row = (0...hypothesis.count).map { count in
            var errors = WordErrors()
            errors.insertions = count
            return errors
        }
        for word in reference {
            var diagonal = row[0]
            row[0].deletions += 1
            for (column, said) in hypothesis.enumerated() {
                var best = diagonal
                diagonal = row[column + 1]
                if word != said { best.substitutions += 1 }
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

    /// The number of errors alone, for long texts: only alignments of up to so many errors are looked at, twice as many
    /// each time until that suffices.
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

    /// The distance, if it is no more than `limit`; else some number above that.
    private static func distance(_ reference: [Int32], _ hypothesis: [Int32], within limit: Int) -> Int {
        // Beyond the band around the diagonal an alignment has more errors than the limit.
        let far = limit + 1
        var row = (0...hypothesis.count).map { $0 <= limit ? $0 : far }
        for (line, word) in reference.enumerated() {
            let first = max(0, line + 1 - limit), last = min(hypothesis.count, line + 1 + limit)
            guard first <= last else { return far }
            // What is left of the band belongs to an earlier line and must not be seen.
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
