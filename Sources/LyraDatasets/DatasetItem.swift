/// One example of a data set: a conversation, its media, and what training and evaluation know about it.
public struct DatasetItem: Sendable, Equatable {
    /// A piece of a turn. The numbers are indices into the item's media.
    public enum Piece: Sendable, Equatable {
        case text(String)
        case image(Int)
        case video(Int)
        case speech(Int)
        case longSpeech(Int)
    }

    public enum Speaker: Sendable, Equatable {
        case human
        case model
    }

    public struct Turn: Sendable, Equatable {
        public var speaker: Speaker
        /// In the order of the prompt. Texts are never empty. A turn of the model is one text, or nothing.
        public var pieces: [Piece]

        public init(_ speaker: Speaker, _ pieces: [Piece]) { (self.speaker, self.pieces) = (speaker, pieces) }

        /// The texts of the turn, without its media.
        public var text: String {
            pieces.reduce(into: "") { if case .text(let text) = $1 { $0 += text } }
        }
    }

    /// The item's own identifier; its number in the file, counted from 1, if it has none.
    public var id: String
    /// The item's index in the file, counted from 0.
    public var index: Int
    /// The line on which the item begins, counted from 1.
    public var line: Int
    /// The file, the line and the number of the item, for messages.
    public var place: String
    /// The system prompt, if the conversation begins with one.
    public var system: String?
    /// Turns of the human and of the model, alternating, the human's first. None in an item without a conversation,
    /// which only labels a medium, for example.
    public var turns: [Turn]
    /// Paths, absolute or relative to the current directory.
    public var images: [String] = []
    public var videos: [String] = []
    public var speech: [String] = []
    /// Recordings that are encoded window by window, whatever their length. An item has `speech` or `longSpeech`.
    public var longSpeech: [String] = []
    /// The words of each recording, or of all of them in one text; empty if unknown.
    public var transcripts: [String] = []
    /// Speech units of the model's last turn, or of `targetSpeech`; nil if there are none.
    public var units: [Int32]?
    /// Recordings that the model's voice should sound like (`tgt_speech`).
    public var targetSpeech: [String] = []
    /// Answers of several people to the question, or all that are accepted; empty if the item lists none.
    public var answers: [String] = []
    /// The kind of question, for a breakdown of scores.
    public var kind: String?

    /// By name: a label for each row that a tower makes of the item's first medium (`row_labels`).
    public var rowLabels: [String: [Int32]] = [:]
    /// By name: the sequence of labels that the first medium spells (`sequence_labels`).
    public var sequenceLabels: [String: [Int32]] = [:]

    /// The words of all recordings; nil if unknown.
    public var transcript: String? { transcripts.isEmpty ? nil : transcripts.joined(separator: " ") }

    /// The text of the model's last turn; nil if the human speaks last.
    public var answer: String? {
        guard let last = turns.last, last.speaker == .model else { return nil }
        return last.text
    }

    /// Number of images, videos and recordings.
    public var mediaCount: Int { images.count + videos.count + speech.count + longSpeech.count }
}

/// The folders of relative media paths. Published data sets keep pictures and recordings apart.
public struct MediaFolders: Sendable, Equatable {
    /// Folder of images and videos; nil is the data set's own.
    public var pictures: String?
    /// Folder of recordings; nil is the data set's own.
    public var recordings: String?

    public init(pictures: String? = nil, recordings: String? = nil) {
        (self.pictures, self.recordings) = (pictures, recordings)
    }

    /// One folder for all media; nil is the data set's own.
    public init(all folder: String?) { self.init(pictures: folder, recordings: folder) }
}
