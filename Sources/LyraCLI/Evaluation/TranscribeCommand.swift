import ArgumentParser
import Lyra
import LyraBase
import LyraEvaluation

struct TranscribeCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "wer",
        abstract: "Transcribes recordings with known texts and counts the wrong words.",
        discussion: """
            \(Manifest.help)

            Each recording is a separate conversation. Prints a line for each finished recording: word error rate, \
            words, substitutions, deletions, insertions, recording, transcript. The total rate comes last: \
            (S + D + I) / N. A recording that cannot be read is reported on stderr and left out, and the exit status \
            is 1. Ctrl-C stops and keeps the finished results.
            """)

    /// The prompt of the published evaluation (lyra/eval/model_lyra_text_speech.py). It separates the prompt from the
    /// speech by two line breaks, one of which belongs to the turn.
    static let publishedPrompt = "\nRecord the spoken words as text."

    @OptionGroup var source: ModelArguments

    @Option(help: ArgumentHelp("The recordings and their texts; - is standard input.", valueName: "path"))
    var manifest: InputFile

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp(
            "The prompt after each recording (default: \"Record the spoken words as text.\" after an empty line, as in "
                + "the published evaluation).", valueName: "text"), transform: typedText)
    var prompt: String?

    @Option(parsing: .unconditional, help: ArgumentHelp("Only the first n recordings.", valueName: "n"))
    var limit: Int?

    @OptionGroup var normalizing: NormalizerArguments
    @OptionGroup var answering: AnswerArguments

    @Option(help: ArgumentHelp("Also write all results to this file as one JSON object.", valueName: "file"))
    var json: String?

    func validate() throws {
        if let limit, limit < 1 { throw ValidationError("--limit must be at least 1") }
    }

    func run() throws {
        Interrupt.watch()
        let normalizer = try normalizing.make()
        let jsonFile = try json.map { try ReportFile(path: $0) }
        let entries = try Manifest(path: manifest.path(), relativeTo: manifest.isStandardInput ? "." : nil).entries
            .prefix(limit ?? .max)
        let modelNotes = Notes(.dropped)
        let model = try source.open(notes: modelNotes, check: Interrupt.check)
        modelNotes.show()
        // Fails once for the model instead of once for each recording.
        _ = try model.checkpoint.speechNetworks.get()
        var options = answering.options
        options.sampling = .greedy
        let session = try Session(model, options: options)
        printError("note: " + scoreNote)
        try printOutput(Transcript.header + "\n")
        var transcripts: [Transcript] = [], failures: [(name: String, reason: String)] = []
        var isInterrupted = false
        for (index, entry) in entries.enumerated() where !isInterrupted {
            do {
                let transcription = try transcribe(entry, session, "\(index + 1)/\(entries.count) ")
                isInterrupted = Interrupt.isRequested
                guard !isInterrupted else { break }
                let transcript = Transcript(
                    name: entry.name, text: entry.text, transcription: transcription, normalizer)
                transcripts.append(transcript)
                try printOutput(transcript.line + "\n")
            } catch let error as LyraError where [.io, .missing, .format, .memory].contains(error.code) {
                failures.append((entry.name, error.message))
                printError("not transcribed: " + error.message)
                try session.reset()
            }
        }
        try finish(transcripts, failures, all: entries.count, jsonFile)
        if isInterrupted {
            throw LyraError(.state, "interrupted after \(transcripts.count) of \(entries.count) recordings")
        }
        if let first = failures.first {
            throw LyraError(
                .io,
                "\(failures.count) of \(entries.count) recordings could not be transcribed; the first is \(first.name)")
        }
    }

    private func transcribe(_ entry: Manifest.Entry, _ session: Session, _ label: String) throws -> String {
        try session.reset()
        try session.feed(.speech(.file(entry.path)))
        try session.feed(text: prompt ?? Self.publishedPrompt, specialTokens: answering.specialTokens)
        try session.endTurn()
        return try session.answer(into: nil, echoes: false, label: label).text
    }

    private func finish(
        _ transcripts: [Transcript], _ failures: [(name: String, reason: String)], all: Int, _ jsonFile: ReportFile?
    ) throws {
        var totals = TranscriptTotals()
        for transcript in transcripts { totals.add(transcript) }
        let head: [(String, JSONValue)] = [
            ("model", .name(source.model)), ("prompt", .string(prompt ?? Self.publishedPrompt)),
            ("normalizer", .string(normalizing.normalizer.rawValue)), ("note", .string(scoreNote)),
            ("recordings", .number(Double(all))), ("transcribed", .number(Double(transcripts.count))),
        ]
        let failed = failures.map {
            JSONValue.object([("audio", .name($0.name)), ("error", .string($0.reason))])
        }
        let lines = [("lines", JSONValue.array(transcripts.map(\.json))), ("failed", .array(failed))]
        try doAll(
            { try printOutput(totals.summary + "\n") },
            { try jsonFile?.write(JSONValue.object(head + totals.json + lines).text + "\n") })
        if let note = totals.note { printError("note: " + note) }
    }
}
