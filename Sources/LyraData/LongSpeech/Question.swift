/// A question about a recording, and its answer.
package struct Question: Sendable, Equatable, Codable {
    package var question: String
    package var answer: String
    /// What it asks for.
    package var kind: String

    package init(question: String, answer: String, kind: String) {
        (self.question, self.answer, self.kind) = (question, answer, kind)
    }
}

/// Kinds of questions whose answers follow from a transcript with times.
package enum QuestionKind: String, Sendable, CaseIterable {
    /// The words between two times.
    case transcribe
    /// When a sentence is said.
    case time
    /// What is said after a sentence.
    case next
    /// What is said before a sentence.
    case previous
    /// The word that a sentence lacks.
    case cloze
    /// Which of two sentences is said first.
    case order
}
