/// A recording of a corpus and its text.
package struct Utterance: Sendable {
    /// Without the corpus's name.
    package var id: String
    package var path: String
    /// The text as the corpus has it; or why there is none.
    package var text: Text

    package enum Text: Sendable, Equatable {
        case known(String)
        case missing(reason: String)
    }
}
