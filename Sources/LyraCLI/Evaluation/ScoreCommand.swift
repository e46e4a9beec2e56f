import ArgumentParser
import Lyra
import LyraBase
import LyraEvaluation

struct ScoreCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "score", abstract: "Counts the wrong words of existing transcripts.",
        discussion: """
            The file is the output of 'lyra eval wer --json', or JSON lines with a text and its transcript: "text" and \
            "hypothesis", or "gt_text" and "text" as the published evaluation writes them. One transcription can thus \
            be scored with several normalizers.
            """)

    @Argument(help: ArgumentHelp("The transcripts; - is standard input.", valueName: "file"))
    var file: InputFile

    @OptionGroup var normalizing: NormalizerArguments

    @Option(help: ArgumentHelp("Also write all results to this file as one JSON object.", valueName: "file"))
    var json: String?

    func run() throws {
        let normalizer = try normalizing.make()
        let jsonFile = try json.map { try ReportFile(path: $0) }
        let transcripts = try TranscriptFile.read(file.path(), normalizer)
        var totals = TranscriptTotals()
        for transcript in transcripts { totals.add(transcript) }
        let text = [Transcript.header] + transcripts.map(\.line) + [totals.summary]
        let head = [("normalizer", JSONValue.string(normalizing.normalizer.rawValue))]
        let lines = [("lines", JSONValue.array(transcripts.map(\.json)))]
        try doAll(
            { try printOutput(text.joined(separator: "\n") + "\n") },
            { try jsonFile?.write(JSONValue.object(head + totals.json + lines).text + "\n") })
        if let note = totals.note { printError("note: " + note) }
    }
}
