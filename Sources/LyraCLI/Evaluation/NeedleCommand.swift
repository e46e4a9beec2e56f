import ArgumentParser
import Lyra
import LyraBase
import LyraEvaluation

struct NeedleCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "needle",
        abstract: "Hides a clip in long recordings and asks about it, as in the paper's Figure 6.",
        discussion: """
            A haystack is the recordings of a folder, one after another in the order of their names and again from the \
            first, until it is as long as wanted, the clip included. At depth 0 the clip comes first, at 1 last. For every \
            length and depth the model hears the haystack and is asked the question.

            Two scores: exact is whether the words of --answer stand in what it says; similarity is 1 - the edits, for each \
            character of --answer, that the most similar part of what it says needs. Both texts are normalised as Whisper's \
            evaluation does, so "Fifty-two" is 52. A haystack that is too long for the memory allowed has no score.

            A table goes to stdout. Ctrl-C ends with what is done.
            """)

    @OptionGroup var source: ModelArguments

    @Option(help: ArgumentHelp("The folder of recordings that haystacks are made of.", valueName: "dir"))
    var haystack: String

    @Option(help: ArgumentHelp("The recording that is hidden; - is standard input.", valueName: "file"))
    var needle: InputFile

    @Option(parsing: .unconditional, help: ArgumentHelp("What is asked.", valueName: "text"), transform: typedText)
    var question: String

    @Option(
        parsing: .unconditional, help: ArgumentHelp("What the answer is to say.", valueName: "text"),
        transform: typedText)
    var answer: String

    @Option(
        parsing: .unconditional, help: ArgumentHelp("Lengths of haystacks in seconds, with commas.", valueName: "s,…"))
    var lengths: NumberList = "60,450,900,1800,3600"

    @Option(parsing: .unconditional, help: ArgumentHelp("Where the clip begins, 0…1, with commas.", valueName: "x,…"))
    var depths: NumberList = "0,0.25,0.5,0.75,1"

    @OptionGroup var answering: AnswerArguments

    @Option(help: ArgumentHelp("Also write everything into this file, one JSON object.", valueName: "file"))
    var json: String?

    @Option(
        help: ArgumentHelp("Also draw the similarities, depth over length, into this SVG file.", valueName: "file"))
    var picture: String?

    func validate() throws {
        guard lengths.values.allSatisfy({ $0 >= 0.1 && $0 <= 1e6 }) else {
            throw ValidationError("--lengths must be in 0.1…1000000 seconds")
        }
        guard depths.values.allSatisfy({ $0 >= 0 && $0 <= 1 }) else { throw ValidationError("--depths must be in 0…1") }
    }

    func run() throws {
        Interrupt.watch()
        let (table, chart) = (
            try json.map { try ReportFile(path: $0) }, try picture.map { try ReportFile(path: $0) }
        )
        let heard = Notes(.dropped)
        let model = try source.open(notes: heard, check: Interrupt.check)
        heard.show()
        let rate = try model.checkpoint.speechInput.get().sampleRate
        let hay = try Haystack(folder: haystack, needle: needle.path(), sampleRate: rate)
        for name in hay.skipped { printError("note: \(name) in \(haystack) is no audio and is left out") }
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
            { try table?.write(report.json(head: head).text + "\n") },
            { try chart?.write(report.picture(notes: notes).svg) })
        if cells.count < all { throw LyraError(.state, "interrupted after \(cells.count) of \(all) haystacks") }
    }

    private func samples(_ seconds: Double, _ rate: Int) -> Int { Int((seconds * Double(rate)).rounded()) }

    /// - Throws: `LyraError`, but for memory that does not suffice: then the cell has no score.
    private func ask(
        _ session: Session, _ source: any SampleSource, _ length: Double, _ depth: Double, _ label: String
    ) throws -> NeedleCell {
        do {
            try session.reset()
            try session.feed(.speech(.recording(source)))
            try session.feed(text: question, specialTokens: answering.specialTokens)
            try session.endTurn()
            let said = try session.answer(into: nil, echoes: false, label: label).text
            return NeedleCell(
                length: length, depth: depth, outcome: .said(said, AnswerScore(expected: answer, answer: said)),
                usage: session.usage)
        } catch let error as LyraError where error.code == .memory {
            return NeedleCell(length: length, depth: depth, outcome: .noMemory(error.message), usage: nil)
        }
    }

    private var notes: [String] {
        func short(_ text: String) -> String { text.count > 60 ? text.prefix(60) + "…" : text }
        return [
            "asked \"\(short(question))\", to be answered \"\(short(answer))\"; cells show the similarity of the answer",
            "a checkpoint of random weights scores at random",
        ]
    }

    private var head: [(String, JSONValue)] {
        [
            ("model", .name(source.model)), ("haystack", .name(haystack)), ("needle", .name(needle.name)),
            ("question", .string(question)), ("answer", .string(answer)), ("note", .string(scoreNote)),
        ]
    }
}

/// Numbers with commas between them.
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
