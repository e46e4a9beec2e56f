import Lyra
import LyraBase
import LyraDatasets
import LyraEvaluation
import LyraMedia

/// Asks a model the questions of a data set, each in a session of its own.
struct QuestionAsker {
    let model: Model
    let options: SessionOptions
    /// A line after each question.
    let closing: String?
    let specialTokens: Bool
    let videoOptions: VideoOptions
    /// The longest side to which larger images are shrunk before the usual preparation; nil for that alone.
    let imageSide: Int?
    /// How much of each recording is fed; nil for all of it.
    let speechSeconds: Double?

    /// Asks the question of an item.
    ///
    /// - Throws: `LyraError` if the model cannot take a medium of the item, so that all questions would fail, or if a
    ///   setting is wrong. What is wrong with the item is in the record.
    func ask(_ item: DatasetItem, _ form: QuestionForm, label: String) throws -> AnswerRecord {
        var record = AnswerRecord(
            item: item.index + 1, id: item.id, kind: item.kind, form: form, prompt: "",
            expected: expected(of: item),
            outcome: .failed(QuestionFailure(.item, "")))
        do {
            guard !record.expected.isEmpty else {
                throw QuestionFailure(
                    .noAnswer,
                    "\(item.place): there is no answer to compare with; add \"answers\", or a last turn of \"gpt\" "
                        + "that is not empty")
            }
            let prompt = try QuestionPrompt(item, form, closing: closing)
            record.prompt = prompt.text
            let (answer, usage) = try ask(prompt, system: item.system, place: item.place, label: label)
            record.outcome = .answered(answer)
            (record.promptTokens, record.mediaTokens) = (usage.promptTokens, usage.mediaTokens)
        } catch let failure as QuestionFailure {
            record.outcome = .failed(failure)
        }
        return record
    }

    private func expected(of item: DatasetItem) -> [String] {
        guard item.answers.isEmpty else { return item.answers }
        return item.answer.map { $0.allSatisfy(\.isWhitespace) ? [] : [$0] } ?? []
    }

    private func ask(
        _ prompt: QuestionPrompt, system: String?, place: String, label: String
    ) throws -> (answer: String, usage: Usage) {
        try requireParts(prompt)
        var options = options
        if let system { options.systemPrompt = system }
        let session = try Session(model, options: options)
        do {
            for part in prompt.parts { try feed(part, to: session) }
            try session.endTurn()
            return (try session.answer(into: nil, echoes: false, label: label).text, session.usage)
        } catch let error as LyraError where [.io, .missing, .format, .unsupported].contains(error.code) {
            throw QuestionFailure(.media, "\(place): \(error.message)")
        } catch let error as LyraError where error.code == .memory {
            throw QuestionFailure(.memory, "\(place): \(error.message)")
        }
    }

    /// - Throws: `LyraError.missing` if the model cannot take a medium of the prompt.
    private func requireParts(_ prompt: QuestionPrompt) throws {
        for part in prompt.parts {
            switch part {
            case .image, .video: _ = try model.checkpoint.visionNetworks.get()
            case .speech: _ = try model.checkpoint.speechNetworks.get()
            case .text, .template: break
            }
        }
    }

    private func feed(_ part: QuestionPrompt.Part, to session: Session) throws {
        switch part {
        case .text(let text): try session.feed(text: text, specialTokens: specialTokens)
        case .template(let text): try session.feed(text: text, specialTokens: true)
        case .image(let path):
            guard let imageSide else { return try session.feed(.image(.file(path))) }
            let image = try ImageDecoder.decode(path: path) { Interrupt.isRequested }
            try session.feed(.image(.pixels(image.bounded(longestSide: imageSide))))
        case .video(let path): try session.feed(.video(.file(path), videoOptions))
        case .speech(let path):
            guard let speechSeconds else { return try session.feed(.speech(.file(path))) }
            let rate = try model.checkpoint.speechNetworks.get().sampleRate
            let start = try RecordingStart(path: path, seconds: speechSeconds, sampleRate: rate)
            try session.feed(.speech(.recording(start)))
        }
    }
}
