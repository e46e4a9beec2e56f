/// How well an answer says what was to be said. Both texts are normalised as Whisper's are before, so that "Fifty-two"
/// is 52.
package struct AnswerScore: Equatable, Sendable {
    /// Whether the words that were expected stand in the answer, one after another.
    package var isExact: Bool
    /// 1 - the edits, in characters, that turn the most similar part of the answer into what was expected, for each of
    /// its characters; 0 at least.
    package var similarity: Double

    package init(expected: String, answer: String) {
        let normalize = WhisperNormalizer()
        let expected = ScalarText(normalize(expected)).words, answer = ScalarText(normalize(answer)).words
        isExact = !expected.isEmpty && answer.indices.contains { answer[$0...].starts(with: expected) }
        let characters = Array(expected.joined(separator: " ").unicodeScalars)
        let edits = Self.edits(characters, in: Array(answer.joined(separator: " ").unicodeScalars))
        similarity = characters.isEmpty ? 0 : 1 - Double(edits) / Double(characters.count)
    }

    /// The fewest insertions, deletions and substitutions that make any part of `text` into `pattern`: an alignment
    /// whose ends in the text are free.
    private static func edits(_ pattern: [Unicode.Scalar], in text: [Unicode.Scalar]) -> Int {
        var column = Array(0...pattern.count)
        var best = pattern.count
        for scalar in text {
            var diagonal = 0
            for (row, wanted) in pattern.enumerated() {
                let left = column[row + 1]
                column[row + 1] = min(diagonal + (scalar == wanted ? 0 : 1), min(left, column[row]) + 1)
                diagonal = left
            }
            best = min(best, column[pattern.count])
        }
        return best
    }
}
