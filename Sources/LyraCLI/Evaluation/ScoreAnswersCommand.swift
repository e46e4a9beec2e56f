import ArgumentParser
import Lyra
import LyraBase
import LyraEvaluation

struct ScoreAnswersCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "score-qa", abstract: "Scores existing answers to the questions of a data set.",
        discussion: """
            The file is what 'lyra eval qa --out' writes, or JSON lines with "item" (a number), "expected" (a list of \
            answers) and "answer", and if present "id", "kind" and "question" (given, typed or spoken). One set of \
            answers can thus be scored with several normalizers.

            \(AnswerScoreArguments.help)
            """)

    @Argument(help: ArgumentHelp("The answers; - is standard input.", valueName: "file"))
    var file: InputFile

    @OptionGroup var scoring: AnswerScoreArguments

    @Option(help: ArgumentHelp("Also write all results to this file as one JSON object.", valueName: "file"))
    var json: String?

    func run() throws {
        let jsonFile = try json.map { try ReportFile(path: $0) }
        let (run, records) = try AnswerFile.read(file.path())
        let report = scoring.report(records)
        let lines = records.filter { $0.answer != nil }.map { $0.line(scoring.normalizer) }
        let head = [("run", run ?? .null)]
        try doAll(
            { try printOutput(([AnswerRecord.header] + lines + [report.summary]).joined(separator: "\n") + "\n") },
            { try jsonFile?.write(JSONValue.object(head + report.json).text + "\n") })
    }
}
