import ArgumentParser
import Lyra
import LyraBase
import LyraEvaluation

struct NeedleCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "needle",
        abstract: "Hides a short recording in long ones and asks about it, as in the paper's Figure 6.",
        discussion: """
            A haystack concatenates the recordings of a folder in the order of their names, starting over after the \
            last, up to the given length including the needle. At depth 0 the needle comes first, at 1 last. For \
            every length and depth, the model gets the haystack and then the question.

            There are two scores. exact: whether the answer contains the words of --answer. similarity: 1 - e / n, \
            where e edits turn the most similar passage of the answer into the n characters of --answer. Both texts \
            are normalized as Whisper's evaluation does, so "Fifty-two" is 52. A haystack that exceeds the memory \
            limit has no score.

            Prints a table. Ctrl-C stops and keeps the finished results.
            """)

    @OptionGroup var source: ModelArguments

    @Option(help: ArgumentHelp("The folder of recordings for the haystacks.", valueName: "dir"))
    var haystack: String

    @Option(help: ArgumentHelp("The recording to hide; - is standard input.", valueName: "file"))
    var needle: InputFile

    @Option(parsing: .unconditional, help: ArgumentHelp("The question.", valueName: "text"), transform: typedText)
    var question: String

    @Option(
        name: .customLong("answer"), parsing: .unconditional,
        help: ArgumentHelp("The text that the answer must contain.", valueName: "text"), transform: typedText)
    var expected: String

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp("Lengths of the haystacks in seconds, separated by commas.", valueName: "s,…"))
    var lengths: NumberList = "60,450,900,1800,3600"

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp("Positions of the needle, 0…1, separated by commas.", valueName: "x,…"))
    var depths: NumberList = "0,0.25,0.5,0.75,1"

    @OptionGroup var answering: AnswerArguments

    @Option(help: ArgumentHelp("Also write all results to this file as one JSON object.", valueName: "file"))
    var json: String?

    @Option(
        help: ArgumentHelp("Also draw the similarities, depth over length, to this SVG file.", valueName: "file"))
    var picture: String?

    func validate() throws {
        guard lengths.values.allSatisfy({ $0 >= 0.1 && $0 <= 1e6 }) else {
            throw ValidationError("--lengths must be in 0.1…1000000 seconds")
        }
        guard depths.values.allSatisfy({ $0 >= 0 && $0 <= 1 }) else { throw ValidationError("--depths must be in 0…1") }
    }

    func run() throws {
        Interrupt.watch()
        let jsonFile = try json.map { try ReportFile(path: $0) }
        let chartFile = try picture.map { try ReportFile(path: $0) }
        let modelNotes = Notes(.dropped)
        let model = try source.open(notes: modelNotes, check: Interrupt.check)
        modelNotes.show()
        let rate = try model.checkpoint.speechNetworks.get().sampleRate
        let hay = try Haystack(folder: haystack, needle: needle.path(), sampleRate: rate)
        for name in hay.skipped { printError("note: \(name) in \(haystack) is not audio and is left out") }
        for length in lengths.values { _ = try hay.source(samples: samples(length, rate), depth: 0) }
        var options = answering.options
        options.sampling = .greedy
        let session = try Session(model, options: options)
        printError("note: " + scoreNote)
        try printOutput(NeedleCell.header + "\n")
        var cells: [NeedleCell] = []
        let all = lengths.values.count * depths.values.count
        outer: for length in lengths.values {
            for depth in depths.values {
                let source = try hay.source(samples: samples(length, rate), depth: depth)
                let cell = try ask(session, source, length, depth, "\(cells.count + 1)/\(all) ")
                if Interrupt.isRequested { break outer }
                cells.append(cell)
                try printOutput(cell.line + "\n")
            }
        }
        let report = NeedleReport(cells: cells, lengths: lengths.values, depths: depths.values)
        try doAll(
            { try printOutput(report.means + "\n") },
            { try jsonFile?.write(report.json(head: head).text + "\n") },
            { try chartFile?.write(report.heatMap(notes: notes).svg) })
        if cells.count < all { throw LyraError(.state, "interrupted after \(cells.count) of \(all) haystacks") }
    }

    private func samples(_ seconds: Double, _ rate: Int) -> Int { Int((seconds * Double(rate)).rounded()) }

    /// - Throws: `LyraError`, except for insufficient memory, which leaves the cell without a score.
    private func ask(
        _ session: Session, _ source: any SampleSource, _ length: Double, _ depth: Double, _ label: String
    ) throws -> NeedleCell {
        do {
            try session.reset()
            try session.feed(.speech(.recording(source)))
            try session.feed(text: question, specialTokens: answering.specialTokens)
            try session.endTurn()
            let response = try session.answer(into: nil, echoes: false, label: label).text
            return NeedleCell(
                length: length, depth: depth,
                outcome: .answered(response, AnswerScore(expected: expected, answer: response)), usage: session.usage)
        } catch let error as LyraError where error.code == .memory {
            return NeedleCell(length: length, depth: depth, outcome: .noMemory(error.message), usage: nil)
        }
    }

    private var notes: [String] {
        func short(_ text: String) -> String { text.count > 60 ? text.prefix(60) + "…" : text }
        return [
            "question \"\(short(question))\", expected answer \"\(short(expected))\"; cells show the similarity of the "
                + "answer",
            "a checkpoint of random weights scores at random",
        ]
    }

    private var head: [(String, JSONValue)] {
        [
            ("model", .name(source.model)), ("haystack", .name(haystack)), ("needle", .name(needle.name)),
            ("question", .string(question)), ("answer", .string(expected)), ("note", .string(scoreNote)),
        ]
    }
}

/// Numbers, separated by commas.
struct NumberList: ExpressibleByArgument, ExpressibleByStringLiteral {
    let values: [Double]
    let defaultValueDescription: String

    init?(argument: String) {
        let values = argument.split(separator: ",", omittingEmptySubsequences: false).map { Double($0) }
        guard !values.isEmpty, values.allSatisfy({ $0?.isFinite ?? false }) else { return nil }
        self.values = values.compactMap { $0 }
        defaultValueDescription = argument
    }

    init(stringLiteral: String) {
        values = stringLiteral.split(separator: ",").compactMap { Double($0) }
        defaultValueDescription = stringLiteral
    }
}
