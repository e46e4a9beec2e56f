import LyraBase

/// One example in the form of LLaVA's data: a recording, a question about it, and the answer.
package struct DataExample: Sendable {
    /// The key under which an example names its recording.
    package enum Medium: String, Sendable {
        /// At most one window of speech.
        case speech
        /// A recording of any length.
        case longSpeech = "long_speech"
    }

    package var id: String
    package var medium: Medium
    /// The recording's path as the file states it; see `MediaPaths`.
    package var path: String
    /// What the recording says (`speech_asr`); nil if the example leaves it out.
    package var transcript: String?
    /// What the question asks for, so that scores can be split by it.
    package var kind: String?
    package var question: String
    package var answer: String

    package init(
        id: String, medium: Medium, path: String, transcript: String? = nil, kind: String? = nil, question: String,
        answer: String
    ) {
        (self.id, self.medium, self.path, self.transcript) = (id, medium, path, transcript)
        (self.kind, self.question, self.answer) = (kind, question, answer)
    }

    /// The example as one JSON object. The published code puts the placeholder `<speech>` on a line before the question
    /// (prepare_speech_sft_data.py of dvlab-research/Lyra), also for `long_speech`.
    package var json: String {
        var members: [(String, JSONValue)] = [("id", .string(id)), (medium.rawValue, .string(path))]
        if let transcript { members.append(("speech_asr", .string(transcript))) }
        if let kind { members.append(("kind", .string(kind))) }
        func turn(_ from: String, _ value: String) -> JSONValue {
            .object([("from", .string(from)), ("value", .string(value))])
        }
        members.append(("conversations", .array([turn("human", "<speech>\n" + question), turn("gpt", answer)])))
        return JSONValue.object(members).text
    }
}
