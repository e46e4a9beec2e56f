/// How well an answer matches the expected answers.
package struct QuestionScore: Equatable, Sendable {
    /// Whether the answer equals one of the expected answers, both normalized.
    package var isExact: Bool
    /// VQA's accuracy, 0…1: the mean, over the expected answers, of min(1, matches / 3) among the others. Nil if there
    /// is only one expected answer.
    package var accuracy: Double?

    package init(_ answer: String, expected: [String], _ normalizer: AnswerNormalizer) {
        let given = normalizer(answer)
        let matches = expected.count { normalizer($0) == given }
        isExact = matches > 0
        accuracy = expected.count > 1 ? Self.accuracy(matches: matches, of: expected.count) : nil
    }

    /// Each of the m matching answers has m - 1 matches among the others, each of the other n - m answers has m.
    private static func accuracy(matches m: Int, of n: Int) -> Double {
        let sum = Double(m) * min(1, Double(m - 1) / 3) + Double(n - m) * min(1, Double(m) / 3)
        return m > 0 ? sum / Double(n) : 0
    }
}
