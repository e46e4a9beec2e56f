/// A recording of a corpus and its text.
package struct Utterance: Sendable {
    /// Without the corpus's name.
    package var id: String
    package var path: String
    /// The transcript in the spelling of the corpus, or the reason why it is missing.
    package var text: Text

    package enum Text: Sendable, Equatable {
        case known(String)
        case missing(reason: String)
    }
}
