import LyraBase
import LyraDatasets
import LyraText

/// How a question is asked.
package enum QuestionForm: String, Sendable, CaseIterable {
    /// As the item has it.
    case given
    /// With the transcript in place of the recording.
    case typed
    /// With the recording.
    case spoken
}

/// Why a question has no answer.
package struct QuestionFailure: Error, Equatable, Sendable {
    package enum Reason: String, Sendable, CaseIterable {
        /// The item is not what it should be.
        case item
        /// The item has no answer to compare with.
        case noAnswer = "no_answer"
        /// The question is to be typed, but there is no transcript.
        case noTranscript = "no_transcript"
        /// The question is to be spoken, but there is no recording.
        case noRecording = "no_recording"
        /// A file cannot be read or decoded.
        case media
        /// There is no memory.
        case memory
    }

    package var reason: Reason
    package var message: String

    package init(_ reason: Reason, _ message: String) { (self.reason, self.message) = (reason, message) }
}

/// What a session is fed for an item: the conversation up to the human's last turn, in which earlier answers are the
/// item's own.
package struct QuestionPrompt: Equatable, Sendable {
    package enum Part: Equatable, Sendable {
        case text(String)
        /// Text of the chat template, with special tokens.
        case template(String)
        case image(String)
        case video(String)
        case speech(String)
    }

    package private(set) var parts: [Part] = []

    /// - Parameters:
    ///   - closing: text for a line of its own after the question
    /// - Throws: `QuestionFailure` if the item cannot be asked in this form.
    package init(_ item: DatasetItem, _ form: QuestionForm, closing: String?) throws {
        guard let last = item.turns.lastIndex(where: { $0.speaker == .human }) else {
            throw QuestionFailure(.item, "\(item.place): there are no \"conversations\" with a question; add them")
        }
        let recordings = item.speech.count + item.longSpeech.count
        if form == .spoken, recordings == 0 {
            throw QuestionFailure(
                .noRecording, "\(item.place): there is no recording of the question; add \"speech\", or ask it typed")
        }
        if form == .typed, recordings > 0, item.transcripts.isEmpty {
            throw QuestionFailure(
                .noTranscript,
                "\(item.place): there is no transcript of the recording; add \"speech_asr\", or ask it spoken")
        }
        for turn in item.turns[..<last] { try add(earlier: turn, of: item, form) }
        let start = parts.count
        for piece in item.turns[last].pieces { add(piece, of: item, form) }
        if let closing { add(closing: closing) }
        guard parts.count > start else {
            throw QuestionFailure(.item, "\(item.place): the question is empty; give it text or a medium")
        }
    }

    /// The prompt as one text, for people; media are `<image>`, `<video>` and `<speech>`.
    package var text: String {
        parts.map { part in
            switch part {
            case .text(let text), .template(let text): text
            case .image: "<image>"
            case .video: "<video>"
            case .speech: "<speech>"
            }
        }.joined()
    }

    private mutating func add(earlier turn: DatasetItem.Turn, of item: DatasetItem, _ form: QuestionForm) throws {
        for piece in turn.pieces { add(piece, of: item, form) }
        if case .speech? = parts.last {
            // A session puts a line break between speech and what follows, and here none belongs.
            throw QuestionFailure(
                .item,
                "\(item.place): an earlier turn ends with a recording; only the last turn can, so ask the questions "
                    + "as items of their own")
        }
        parts.append(
            .template(turn.speaker == .human ? ChatTemplate.userEnd : ChatTemplate.nextTurn(answerEnded: false)))
    }

    private mutating func add(_ piece: DatasetItem.Piece, of item: DatasetItem, _ form: QuestionForm) {
        switch piece {
        case .text(let text): add(text: text)
        case .image(let number): parts.append(.image(item.images[number]))
        case .video(let number): parts.append(.video(item.videos[number]))
        case .speech(let number), .longSpeech(let number):
            guard form == .typed else {
                return parts.append(.speech((item.speech + item.longSpeech)[number]))
            }
            // One text for several recordings stands in place of the first.
            if item.transcripts.indices.contains(number) { add(text: item.transcripts[number]) }
        }
    }

    /// The session itself puts a line break between speech and text.
    private mutating func add(text: String) {
        var text = text.unicodeScalars[...]
        if case .speech? = parts.last, text.first == "\n" { text.removeFirst() }
        guard !text.isEmpty else { return }
        if case .text(let before)? = parts.last {
            parts[parts.count - 1] = .text(before + String(text))
        } else {
            parts.append(.text(String(text)))
        }
    }

    private mutating func add(closing: String) {
        if case .text? = parts.last { add(text: "\n" + closing) } else { add(text: closing) }
    }
}
