import LyraBase
import LyraDatasets

/// A conversation to train on: what its turns say, and the files of its media.
package struct ExampleConversation: Sendable, Equatable {
    /// A piece of a user's turn. Texts are used as they are: a line break between speech and typed text is part of the
    /// text.
    package enum Part: Sendable, Equatable {
        case text(String)
        /// The paths of media files.
        case image(String)
        case video(String)
        case speech(String)
        case sound(String)
    }

    package struct Turn: Sendable, Equatable {
        package var content: [Part]
        /// The answer that the model should give.
        package var answer: String

        package init(_ content: [Part], answer: String) { (self.content, self.answer) = (content, answer) }
    }

    /// Nil means the builder's system prompt.
    package var system: String?
    package var turns: [Turn]
    /// What the first recording of speech says.
    package var transcript: String?
    /// The speech units of the last answer.
    package var units: [Int32]?
    /// Where the conversation stands, for messages.
    package var origin: String

    package init(
        system: String? = nil, turns: [Turn], transcript: String? = nil, units: [Int32]? = nil, origin: String
    ) {
        (self.system, self.turns, self.transcript) = (system, turns, transcript)
        (self.units, self.origin) = (units, origin)
    }
}

extension ExampleConversation {
    /// The conversation of a data set's item.
    ///
    /// - Throws: `LyraError.format` if the human speaks last, because there is nothing to learn then.
    package init(_ item: DatasetItem) throws {
        guard !item.turns.isEmpty else {
            throw LyraError(.format, "there are no \"conversations\", which this stage learns from; add them")
        }
        var turns: [Turn] = []
        var content: [Part]?
        for turn in item.turns {
            switch (turn.speaker, content) {
            case (.human, nil): content = try turn.pieces.map { try Self.part($0, of: item) }
            case (.model, let asked?):
                turns.append(Turn(asked, answer: turn.text))
                content = nil
            default: throw LyraError(.format, "the turns of human and model do not alternate")
            }
        }
        guard content == nil, !turns.isEmpty else {
            throw LyraError(.format, "the conversation does not end with an answer of the model; add it")
        }
        self.init(
            system: item.system, turns: turns, transcript: Self.firstTranscript(of: item), units: item.units,
            origin: item.place)
    }

    /// One text for several recordings does not tell what the first of them says.
    private static func firstTranscript(of item: DatasetItem) -> String? {
        let recordings = item.speech.count + item.longSpeech.count
        return item.transcripts.count == recordings ? item.transcripts.first : nil
    }

    private static func part(_ piece: DatasetItem.Piece, of item: DatasetItem) throws -> Part {
        func path(_ index: Int, _ paths: [String]) throws -> String {
            guard paths.indices.contains(index) else {
                throw LyraError(.format, "a turn refers to medium \(index + 1) of \(paths.count)")
            }
            return paths[index]
        }
        return switch piece {
        case .text(let text): .text(text)
        case .image(let index): .image(try path(index, item.images))
        case .video(let index): .video(try path(index, item.videos))
        case .speech(let index): .speech(try path(index, item.speech))
        case .longSpeech(let index): .speech(try path(index, item.longSpeech))
        }
    }
}
