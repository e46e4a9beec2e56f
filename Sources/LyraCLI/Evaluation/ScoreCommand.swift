import ArgumentParser
import Lyra
import LyraBase

struct ScoreCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "score", abstract: "Counts the wrong words of transcripts that are there already.",
        discussion: """
            The file is what 'lyra eval wer --json' wrote, or JSON lines with a text and what was heard: "text" and \
            "hypothesis", or "gt_text" and "text" as the published evaluation writes them. So one transcription can be \
            scored with several normalizers.
            """)

    @Argument(help: ArgumentHelp("The transcripts; - is standard input.", valueName: "file"))
    var file: InputFile

    @OptionGroup var normalizing: NormalizerArguments

    @Option(help: ArgumentHelp("Also write everything into this file, one JSON object.", valueName: "file"))
    var json: String?

    private struct Pair: Decodable {
        var audio: String?
        var speech: String?
        var text: String?
        var hypothesis: String?
        var gt_text: String?
        var lines: [Pair]?

        func transcript(_ normalizer: TextNormalizer, _ place: String) throws -> Transcript {
            guard let text, let other = hypothesis ?? gt_text else {
                throw LyraError(
                    .format, "\(place): \"text\" and \"hypothesis\" are needed, or \"gt_text\" and \"text\"")
            }
            let isPublished = hypothesis == nil
            return Transcript(
                name: audio ?? speech ?? "", text: isPublished ? other : text, heard: isPublished ? text : other,
                normalizer)
        }
    }

    func run() throws {
        let normalizer = try normalizing.make()
        let output = try json.map { try ReportFile(path: $0) }
        var transcripts: [Transcript] = [], totals = TranscriptTotals()
        try TextLines.read(file.path()) { line, place in
            let pair = try TextLines.decode(Pair.self, line, place)
            for pair in pair.lines ?? [pair] { transcripts.append(try pair.transcript(normalizer, place)) }
        }
        for transcript in transcripts { totals.add(transcript) }
        let text = [Transcript.header] + transcripts.map(\.line) + [totals.summary]
        let head = [("normalizer", JSONValue.string(normalizing.normalizer.rawValue))]
        let lines = [("lines", JSONValue.array(transcripts.map(\.json)))]
        try doAll(
            { try printOutput(text.joined(separator: "\n") + "\n") },
            { try output?.write(JSONValue.object(head + totals.json + lines).text + "\n") })
        if let note = totals.note { printError("note: " + note) }
    }
}
