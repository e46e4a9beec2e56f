/// How well an answer matches the expected text. Both texts are first normalized as Whisper's evaluation does, so
/// "Fifty-two" is 52.
package struct AnswerScore: Equatable, Sendable {
    /// Whether the answer contains the expected words, consecutively.
    package var isExact: Bool
    /// 1 - e / n, in 0…1: e edits turn the most similar passage of the answer into the expected text of n characters.
    package var similarity: Double

    package init(expected: String, answer: String) {
        let normalize = WhisperNormalizer()
        let expected = ScalarText(normalize(expected)).words, answer = ScalarText(normalize(answer)).words
        isExact = !expected.isEmpty && answer.indices.contains { answer[$0...].starts(with: expected) }
        let characters = Array(expected.joined(separator: " ").unicodeScalars)
        let edits = Self.edits(characters, in: Array(answer.joined(separator: " ").unicodeScalars))
        similarity = characters.isEmpty ? 0 : 1 - Double(edits) / Double(characters.count)
    }

    /// The fewest insertions, deletions and substitutions that turn any passage of `text` into `pattern` (Sellers'
    /// algorithm).
    private static func edits(_ pattern: [Unicode.Scalar], in text: [Unicode.Scalar]) -> Int {
        var column = Array(0...pattern.count)
        var best = pattern.count
        for scalar in text {
            var diagonal = 0
            for (row, expected) in pattern.enumerated() {
                let left = column[row + 1]
                column[row + 1] = min(diagonal + (scalar == expected ? 0 : 1), min(left, column[row]) + 1)
                diagonal = left
            }
            best = min(best, column[pattern.count])
        }
        return best
    }
}
