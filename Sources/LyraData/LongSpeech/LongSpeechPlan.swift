import LyraBase
import LyraFormats

/// Long-speech instructions as in the paper's Figure 4 (arXiv 2412.09501): each transcript is cut in time into
/// passages, the text of each passage is flattened, and questions and answers are made from it.
package struct LongSpeechPlan {
    /// One passage that questions are asked about.
    package struct Entry: Sendable {
        /// Names the recording and the passage.
        package let id: String
        /// The recording's path for the data file.
        package let path: String
        /// Index in `transcripts`.
        package let transcript: Int
        package let passage: Passage
    }

    package private(set) var entries: [Entry] = []
    package private(set) var transcripts: [TimedTranscript] = []
    private var ids: [String] = []

    /// How far a transcript may go beyond the recording's end, in seconds.
    private static let overhang = 5.0

    package init() {}

    /// Reads a recording's transcript and cuts it.
    ///
    /// - Parameters:
    ///   - passageLength: in seconds
    ///   - note: receives what was left out of the transcript
    /// - Throws: `LyraError` that names the file, if the recording or the transcript is missing or damaged, or the
    ///   transcript is longer than the recording.
    package mutating func add(
        _ recording: LongRecording, paths: MediaPaths, check: RecordingCheck, passageLength: Double,
        progress: () throws -> Void, note: (String) -> Void
    ) throws {
        guard let file = recording.transcript else {
            throw LyraError(.missing, "\(recording.path): there is no transcript with its name")
        }
        let transcript = try TimedTranscript(path: file)
        let seconds = try check.seconds(of: recording.path, check: progress)
        if let seconds, transcript.end > seconds + Self.overhang {
            throw LyraError(
                .format,
                "\(file): it ends at \(Clock.before(transcript.end)), but the recording \(recording.path) lasts "
                    + "\(Clock.after(seconds)); it is of another recording")
        }
        let path = try paths.stated(recording.path)
        if let omission = transcript.omissions.first {
            note("\(transcript.omissions.count) cues are left out, because their times cannot be read: \(omission)")
        }
        for (number, passage) in transcript.passages(of: passageLength).enumerated() {
            entries.append(
                Entry(
                    id: "\(recording.id)_\(number)", path: path, transcript: transcripts.count, passage: passage))
        }
        transcripts.append(transcript)
        ids.append(recording.id)
    }

    /// The flattened text of an entry's passage.
    package func text(_ entry: Entry) -> String { transcripts[entry.transcript].text(entry.passage.cues) }

    /// Questions by template about all passages, in the order of `entries`.
    ///
    /// - Parameter count: questions about each passage, at most
    package func templateQuestions(
        kinds: [QuestionKind], count: Int, seed: UInt64, progress: (Int) throws -> Void
    ) throws -> [[Question]] {
        var questions: [[Question]] = []
        var current = -1
        var templates: QuestionTemplates?
        for (index, entry) in entries.enumerated() {
            try progress(index)
            if entry.transcript != current {
                current = entry.transcript
                templates = QuestionTemplates(
                    transcripts[current], kinds: kinds, seed: stableHash(ids[current], seed: seed))
            }
            questions.append(templates?.questions(about: entry.passage, count: count) ?? [])
        }
        return questions
    }

    /// The examples of an entry.
    package func examples(_ entry: Entry, _ questions: [Question]) -> [DataExample] {
        questions.enumerated().map { number, question in
            DataExample(
                id: "\(entry.id)_\(number)", medium: .longSpeech, path: entry.path, kind: question.kind,
                question: question.question, answer: question.answer)
        }
    }
}
