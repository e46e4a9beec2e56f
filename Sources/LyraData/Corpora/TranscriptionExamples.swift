import LyraBase

/// Makes stage 1's examples of a corpus: a recording, an instruction to transcribe it, and its text.
package struct TranscriptionExamples {
    /// Begins each example's id.
    package var corpus: String
    /// Of the choice of instructions, which also follows from the id.
    package var seed: UInt64 = 1
    /// Turns a corpus's text into what the model learns to write.
    package var spelled: (String) -> String = { $0 }
    /// Texts with fewer or more words are left out.
    package var words: ClosedRange<Int> = 1...149
    /// Longer recordings are left out, in seconds: the encoder hears one window of 30 s.
    package var longest = 30.0
    package var check = RecordingCheck.open

    package init(corpus: String) { self.corpus = corpus }

    /// What became of a corpus.
    package struct Summary: Equatable {
        package var written = 0
        /// Of the written recordings whose length is known.
        package var seconds = 0.0
        /// Left out for the number of words, or for the length in seconds.
        package var wrongWords = 0, tooLong = 0
        package var bad = 0
    }

    /// - Parameters:
    ///   - bad: counts and limits what is missing or damaged
    ///   - progress: receives how many utterances are done; throws to stop
    package func write(
        _ utterances: [Utterance], to writer: ExampleWriter, paths: MediaPaths, bad: inout BadExamples,
        progress: (Int) throws -> Void
    ) throws -> Summary {
        var summary = Summary()
        for (index, utterance) in utterances.enumerated() {
            try progress(index)
            guard case .known(let original) = utterance.text else {
                if case .missing(let reason) = utterance.text { try bad.add(reason) }
                continue
            }
            let text = trimmed(spelled(original))
            guard words.contains(text.split(whereSeparator: \.isWhitespace).count) else {
                summary.wrongWords += 1
                continue
            }
            let path: String, seconds: Double?
            do {
                path = try paths.stated(utterance.path)
                seconds = try check.seconds(of: utterance.path) { try progress(index) }
            } catch let error as LyraError where BadExamples.isOfFile(error) {
                try bad.add(error.message)
                continue
            }
            guard seconds ?? 0 <= longest else {
                summary.tooLong += 1
                continue
            }
            try writer.append(example(utterance.id, path: path, text))
            summary.written += 1
            summary.seconds += seconds ?? 0
        }
        summary.bad = bad.count
        return summary
    }

    private func example(_ name: String, path: String, _ text: String) -> DataExample {
        let id = corpus + "_" + SystemPath.printable(name)
        var random = SplitMix64(seed: stableHash(id, seed: seed))
        let instruction = Self.instructions[Int(random.next(below: UInt64(Self.instructions.count)))]
        return DataExample(
            id: id, medium: .speech, path: path, transcript: text, question: instruction, answer: text)
    }

    /// Ways to ask for a transcript.
    package static let instructions = [
        "Transcribe the speech.", "Write down what is said.", "What does the speaker say? Give the exact words.",
        "Please turn this recording into text.", "Convert what you hear to written words.",
        "Give a transcript of the recording.", "Listen to the speech and write it out.",
        "Put the spoken words in writing.", "What is being said here? Write it word for word.",
        "Type out the words of the speaker.", "Please write the words that are spoken.",
        "Record the spoken words as text.", "Note down every word of this speech.",
        "I need this speech as text.", "Write the transcript of what you hear.",
        "Could you transcribe this recording for me?", "Render the speech as text, without changing a word.",
        "Take dictation: write what the speaker says.", "Which words are spoken? Write them all.",
        "Provide the text of the spoken message.",
    ]
}
