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
    /// Quotes a sentence of the recording, and asks when it is said.
    case time
    /// Asks for the sentence after a given one.
    case next
    /// Asks for the sentence before a given one.
    case previous
    /// Asks for the word that was left out of a given sentence.
    case cloze
    /// Quotes two sentences of the recording, and asks which comes first.
    case order
}
