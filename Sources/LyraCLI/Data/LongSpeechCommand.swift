import ArgumentParser
import LyraBase
import LyraData

struct LongSpeechCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "long-speech",
        abstract: "Turns long recordings with transcripts into stage 3's data.",
        discussion: """
            A transcript is WebVTT, SRT, or JSON of Whisper, whisper.cpp or transformers. It is cut in time into \
            passages, which end where a sentence ends, and questions are made about each, as in the paper's Figure 4. \
            Every example has the whole recording.

            The templates make six kinds of questions: the words between two times (transcribe), the time of a \
            sentence (time), the sentence after or before another (next, previous), a word that was left out of a \
            sentence (cloze), and which of two sentences comes first (order). \
            All answers stand in the transcript. A server writes questions of any kind (open); nothing checks its \
            answers. If it fails or Ctrl-C is pressed, the answers so far are kept, and the next run asks for the rest.

            Without --transcripts, transcripts lie beside the recordings: talk.vtt, talk.en.srt or talk.json belongs to \
            talk.mp3.

              lyra data long-speech talks/ -o talks.jsonl
            """)

    @Argument(help: ArgumentHelp("Recordings, or folders of recordings.", valueName: "path"))
    var recordings: [String]

    @Option(
        parsing: .upToNextOption,
        help: ArgumentHelp(
            "Transcripts in the order of the recordings, or folders of transcripts with the recordings' names.",
            valueName: "path"))
    var transcripts: [String] = []

    @OptionGroup var out: DataOutputArguments
    @OptionGroup var root: RootArguments

    @Option(parsing: .unconditional, help: ArgumentHelp("Length of a passage in seconds.", valueName: "s"))
    var passage = 300.0

    @Option(parsing: .unconditional, help: ArgumentHelp("Questions about each passage.", valueName: "n"))
    var questions = 1

    @Option(help: ArgumentHelp("Kinds of templates, separated by commas.", valueName: "kind,…"))
    var kinds = KindList(QuestionKind.allCases)

    @Option(help: "What is checked of each recording: that it exists, that it opens, or that it decodes to its end.")
    var check = RecordingCheck.open

    @Option(parsing: .unconditional, help: ArgumentHelp("Seed of the templates' choices.", valueName: "n"))
    var seed = Seed(1)

    @OptionGroup var serving: ServerArguments

    func validate() throws {
        guard (1...100_000).contains(passage) else { throw ValidationError("--passage must be in 1…100000 seconds") }
        guard (1...1000).contains(questions) else { throw ValidationError("--questions must be in 1…1000") }
    }

    func run() throws {
        Interrupt.watch()
        let server = try serving.make()
        let progress = DataProgress()
        defer { progress.clear() }
        let writer = try ExampleWriter(path: out.output)
        let paths = try root.paths(for: out.output)
        let pairs = try LongRecording.pairs(recordings: recordings, transcripts: transcripts)
        let (plan, badRecordings) = try read(pairs, paths, progress)
        var badPassages = BadExamples(allowing: out.badShare, of: plan.entries.count) {
            progress.note("left out: " + $0)
        }
        let made: [[Question]]
        if let server {
            let asking = try ServerQuestions(
                server, count: questions, cache: serving.answers ?? out.output + ".answers.jsonl")
            made = try asking.questions(plan, bad: &badPassages) {
                try progress.show("passages", $0, plan.entries.count)
            }
        } else {
            made = try plan.templateQuestions(kinds: kinds.kinds, count: questions, seed: seed.value) {
                try progress.show("passages", $0, plan.entries.count)
            }
        }
        for (entry, questions) in zip(plan.entries, made) {
            for example in plan.examples(entry, questions) { try writer.append(example) }
        }
        try writer.finish()
        progress.clear()
        report(plan, writer.count, badRecordings, silent: made.count(where: \.isEmpty))
    }

    private func read(
        _ pairs: [LongRecording], _ paths: MediaPaths, _ progress: DataProgress
    ) throws -> (LongSpeechPlan, bad: Int) {
        var plan = LongSpeechPlan()
        var bad = BadExamples(allowing: out.badShare, of: pairs.count) { progress.note("left out: " + $0) }
        for (index, pair) in pairs.enumerated() {
            try progress.show("recordings", index, pairs.count)
            do {
                try plan.add(
                    pair, paths: paths, check: check, passageLength: passage, progress: progress.check,
                    note: { progress.note("note: " + $0) })
            } catch let error as LyraError where BadExamples.isOfFile(error) {
                try bad.add(error.message)
            }
        }
        return (plan, bad.count)
    }

    /// - Parameter silent: passages without a question
    private func report(_ plan: LongSpeechPlan, _ written: Int, _ badRecordings: Int, silent: Int) {
        var message =
            "wrote \(out.output): \(counted(written, "example")) about \(counted(plan.transcripts.count, "recording"))"
        var omissions: [String] = []
        if badRecordings > 0 { omissions.append(counted(badRecordings, "recording") + " missing or damaged") }
        if silent > 0 {
            let reason = serving.server == nil ? " that no template fits" : " without an answer"
            omissions.append(counted(silent, "passage") + reason)
        }
        if !omissions.isEmpty { message += "; left out: " + omissions.joined(separator: ", ") }
        printError(message)
    }
}

/// Kinds of questions, separated by commas.
struct KindList: ExpressibleByArgument {
    let kinds: [QuestionKind]

    init(_ kinds: [QuestionKind]) { self.kinds = kinds }

    init?(argument: String) {
        let kinds = argument.split(separator: ",", omittingEmptySubsequences: false)
            .map { QuestionKind(rawValue: String($0)) }
        guard !kinds.isEmpty, !kinds.contains(nil) else { return nil }
        self.kinds = kinds.compactMap(\.self)
    }

    var defaultValueDescription: String { kinds.map(\.rawValue).joined(separator: ",") }
}
