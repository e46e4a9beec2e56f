import ArgumentParser
import LyraBase
import LyraData
import LyraEvaluation

/// How a corpus's texts are written in training data.
enum TextStyle: String, ExpressibleByArgument, CaseIterable {
    /// As the published training data: Whisper's normalizer for English.
    case whisper
    case lower
    /// The first letter is a capital, all others are not.
    case sentence
    case original
}

/// Options of the commands that turn a corpus of short recordings into examples.
struct CorpusArguments: ParsableArguments {
    @OptionGroup var out: DataOutputArguments
    @OptionGroup var root: RootArguments

    @Option(
        help: ArgumentHelp(
            "American spellings for --text whisper: the normalizer.json beside Whisper's weights. Without it, "
                + "spelling is unchanged.", valueName: "file"))
    var spellings: String?

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp("Leave out recordings of more seconds: a window has 30.", valueName: "s"))
    var maxSeconds = 30.0

    @Option(help: "What is checked of each recording: that it exists, that it opens, or that it decodes to its end.")
    var check = RecordingCheck.open

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp(
            "Seed of the choice among \(TranscriptionExamples.instructions.count) instructions.", valueName: "n"))
    var seed = Seed(1)

    func validate() throws {
        guard maxSeconds > 0 else { throw ValidationError("--max-seconds must be above 0") }
    }

    /// - Parameters:
    ///   - corpus: begins each example's id
    ///   - utterances: reads the corpus
    func write(
        corpus: String, style: TextStyle, words: ClosedRange<Int>, _ utterances: (DataProgress) throws -> [Utterance]
    ) throws {
        if spellings != nil && style != .whisper { throw ValidationError("--spellings is for --text whisper") }
        Interrupt.watch()
        let progress = DataProgress()
        defer { progress.clear() }
        var examples = TranscriptionExamples(corpus: corpus)
        examples.seed = seed.value
        examples.spelled = try spelling(style)
        examples.words = words
        examples.longest = maxSeconds
        examples.check = check
        let writer = try ExampleWriter(path: out.output)
        let paths = try root.paths(for: out.output)
        let all = try utterances(progress)
        var bad = BadExamples(allowing: out.badShare, of: all.count) { progress.note("left out: " + $0) }
        let summary = try examples.write(all, to: writer, paths: paths, bad: &bad) {
            try progress.show("recordings", $0, all.count)
        }
        try writer.finish()
        progress.clear()
        printError(message(summary, words))
    }

    private func message(_ summary: TranscriptionExamples.Summary, _ words: ClosedRange<Int>) -> String {
        var message = "wrote \(out.output): \(counted(summary.written, "example"))"
        if summary.seconds > 0 { message += " of \(duration(summary.seconds))" }
        var omissions: [String] = []
        if summary.wrongWords > 0 {
            let bounds = "fewer than \(words.lowerBound) or more than \(words.upperBound) words"
            omissions.append("\(summary.wrongWords) with \(bounds)")
        }
        if summary.tooLong > 0 { omissions.append("\(summary.tooLong) longer than \(plain(maxSeconds)) s") }
        if summary.bad > 0 { omissions.append("\(summary.bad) missing or damaged") }
        return message + (omissions.isEmpty ? "" : "; left out: " + omissions.joined(separator: ", "))
    }

    private func plain(_ value: Double) -> String {
        value == value.rounded() && value < 1e15 ? "\(Int(value))" : "\(value)"
    }

    private func spelling(_ style: TextStyle) throws -> (String) -> String {
        switch style {
        case .whisper:
            let normalizer = try TextNormalizer(.whisper, spellings: spellings)
            return { normalizer.words($0).joined(separator: " ") }
        case .lower: return { $0.lowercased() }
        case .sentence: return { $0.prefix(1).uppercased() + $0.dropFirst().lowercased() }
        case .original: return { $0 }
        }
    }
}

/// The numbers of words that an example may have.
struct WordRange: ExpressibleByArgument {
    let range: ClosedRange<Int>

    init(_ range: ClosedRange<Int>) { self.range = range }

    init?(argument: String) {
        let ends = argument.split(separator: "-", omittingEmptySubsequences: false).map { Int($0) }
        guard ends.count == 2, let first = ends[0], let last = ends[1], first >= 0, first <= last else { return nil }
        range = first...last
    }

    var defaultValueDescription: String { "\(range.lowerBound)-\(range.upperBound)" }
}
