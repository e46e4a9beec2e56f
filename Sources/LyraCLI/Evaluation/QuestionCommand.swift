import ArgumentParser
import Lyra
import LyraBase
import LyraDatasets
import LyraEvaluation
import LyraFormats

extension AnswerNormalizer.Kind: ExpressibleByArgument {}
extension QuestionForm: ExpressibleByArgument {}

/// Options for scoring answers.
struct AnswerScoreArguments: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "How to normalize answers before comparison: as VQA's evaluation does (lower case, no punctuation and "
                + "articles, numbers in digits), as Whisper's does for English, or not at all."))
    var normalize = AnswerNormalizer.Kind.vqa

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp("Number of resamples of the bootstrap, 1…100000.", valueName: "n"))
    var resamples = 1000

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp("The same seed and answers give the same intervals.", valueName: "n"))
    var seed = Seed(0)

    func validate() throws {
        guard (1...100_000).contains(resamples) else { throw ValidationError("--resamples must be in 1…100000") }
    }

    var normalizer: AnswerNormalizer { AnswerNormalizer(normalize) }

    func report(_ records: [AnswerRecord]) -> QuestionReport {
        QuestionReport(records, normalizer, Bootstrap(resamples: resamples, seed: seed.value))
    }

    static let help = """
        There are two scores. exact: the share of answers that equal an expected answer. accuracy, for questions with \
        several expected answers: min(1, matches / 3) among all expected answers but one, averaged over the one that \
        is left out, as in VQA. Each has a 95 % confidence interval from a bootstrap over the questions. If questions \
        were asked typed and spoken, the difference and its interval come from the pairs.
        """
}

struct QuestionCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "qa",
        abstract: "Asks the questions of a data set, typed or spoken, and scores the answers.",
        discussion: """
            The data set is a JSON list of objects, or one object on each line, as for training: "conversations" (the \
            human's last turn is the question, earlier turns are given), and if present "image", "video", "speech" or \
            "long_speech" with paths, "speech_asr" with the words of the recording, "kind" or "category", and \
            "answers" with all expected answers; otherwise the model's last turn is expected.

            \(AnswerScoreArguments.help)

            Each question is a separate conversation. Prints a line for each answer, then the scores. A question \
            without an answer is reported on stderr and counted by its reason, and the exit status is 1. Ctrl-C stops \
            and keeps the finished answers.

            To measure as the published evaluation does, add --image-side 1920 --speech-seconds 30 --adapter speech \
            --max-tokens 128.
            """)

    @OptionGroup var source: ModelArguments

    @Option(help: ArgumentHelp("The data set; - is standard input.", valueName: "file"))
    var data: InputFile

    @Option(
        help: ArgumentHelp(
            "The folder of relative image and video paths (default: the data set's folder).", valueName: "dir"))
    var imageFolder: String?

    @Option(
        help: ArgumentHelp(
            "The folder of relative paths of recordings (default: the data set's folder).", valueName: "dir"))
    var speechFolder: String?

    @Option(
        help: ArgumentHelp(
            "typed: the transcript in place of the recording; spoken: the recording; both: each question both ways "
                + "(default: as the item has it).", valueName: "form"))
    var question: Choice?

    enum Choice: String, CaseIterable, ExpressibleByArgument {
        case typed, spoken, both

        var forms: [QuestionForm] {
            switch self {
            case .typed: [.typed]
            case .spoken: [.spoken]
            case .both: [.typed, .spoken]
            }
        }
    }

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp(
            "A line after each question, such as \"Answer with a single word or phrase.\"", valueName: "text"),
        transform: typedText)
    var prompt: String?

    @Option(parsing: .unconditional, help: ArgumentHelp("Only the first n items.", valueName: "n"))
    var limit: Int?

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp(
            "Shrink images whose longest side is longer than n pixels (default: 2880).", valueName: "n"))
    var imageSide: Int?

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp("Only the first s seconds of each recording.", valueName: "s"))
    var speechSeconds: Double?

    @OptionGroup var scoring: AnswerScoreArguments

    @Option(
        help: ArgumentHelp(
            "Also write each answer to this file as one line of JSON, as soon as it is there.", valueName: "file"))
    var out: String?

    @Flag(help: "Continue the file of --out: ask only the questions that it does not answer yet.")
    var resume = false

    @OptionGroup var answering: AnswerArguments
    @OptionGroup var vision: VisionArguments

    @Option(help: ArgumentHelp("Also write all results to this file as one JSON object.", valueName: "file"))
    var json: String?

    func validate() throws {
        if let limit, limit < 1 { throw ValidationError("--limit must be at least 1") }
        if let imageSide, !(28...2880).contains(imageSide) { throw ValidationError("--image-side must be in 28…2880") }
        if let speechSeconds, !(speechSeconds >= 0.1 && speechSeconds <= 1e6) {
            throw ValidationError("--speech-seconds must be in 0.1…1000000")
        }
        if resume && out == nil { throw ValidationError("--resume continues the file of --out; give --out too") }
    }

    func run() throws {
        Interrupt.watch()
        let jsonFile = try json.map { try ReportFile(path: $0) }
        let here = data.isStandardInput ? "." : nil
        let dataset = try IndexedDataset(
            path: data.path(), folders: MediaFolders(pictures: imageFolder ?? here, recordings: speechFolder ?? here),
            check: Interrupt.check)
        let count = min(dataset.count, limit ?? .max)
        guard count > 0 else { throw LyraError(.format, "\(data.name): the data set has no items") }
        let settings = try self.settings(of: data.path())
        let log = try out.map { try AnswerLog(path: $0, run: settings, resume: resume) }
        let modelNotes = Notes(.dropped)
        let model = try source.open(notes: modelNotes, check: Interrupt.check)
        modelNotes.show()
        printError("note: " + scoreNote)
        try printOutput(AnswerRecord.header + "\n")
        let asker = QuestionAsker(
            model: model, options: options, closing: prompt, specialTokens: answering.specialTokens,
            videoOptions: vision.videoOptions, imageSide: imageSide, speechSeconds: speechSeconds)
        var records: [AnswerRecord] = []
        outer: for index in 0..<count {
            for form in question?.forms ?? [.given] {
                let asked = try record(index, form, dataset, asker, log, "\(index + 1)/\(count) ")
                guard let asked else { break outer }
                records.append(asked)
                if asked.answer != nil { try printOutput(asked.line(scoring.normalizer) + "\n") }
            }
        }
        try finish(records, settings, jsonFile)
        if Interrupt.isRequested { throw LyraError(.state, "interrupted after \(records.count) questions") }
        if let first = records.first(where: { $0.failure != nil }) {
            throw LyraError(
                .io,
                "\(records.count { $0.failure != nil }) of \(records.count) questions have no answer; the first is of "
                    + "item \(first.item), \(shown(first.id))")
        }
    }

    private var options: SessionOptions {
        var options = answering.options
        options.sampling = .greedy
        vision.apply(to: &options)
        return options
    }

    /// Asks one question, unless the log answers it. Nil once Ctrl-C was pressed.
    private func record(
        _ index: Int, _ form: QuestionForm, _ dataset: IndexedDataset, _ asker: QuestionAsker, _ log: AnswerLog?,
        _ label: String
    ) throws -> AnswerRecord? {
        if let known = log?.answered(item: index + 1, form) { return known }
        guard !Interrupt.isRequested else { return nil }
        let asked: AnswerRecord
        switch try item(index, of: dataset) {
        case .success(let item):
            do {
                asked = try asker.ask(item, form, label: label)
            } catch let error as LyraError where error.code == .state && Interrupt.isRequested {
                return nil
            }
        case .failure(let failure):
            asked = AnswerRecord(
                item: index + 1, id: "\(index + 1)", kind: nil, form: form, prompt: "", expected: [],
                outcome: .failed(failure))
        }
        // An interrupted answer is not the whole answer.
        guard !Interrupt.isRequested else { return nil }
        if let failure = asked.failure { printError("not answered: " + failure.message) }
        try log?.append(asked.json(scoring.normalizer))
        return asked
    }

    private func item(_ index: Int, of dataset: IndexedDataset) throws -> Result<DatasetItem, QuestionFailure> {
        do { return .success(try dataset.item(at: index)) } catch let error as LyraError where error.code == .format {
            return .failure(QuestionFailure(.item, error.message))
        }
    }

    /// What answers depend on; a run can be resumed only with the same.
    private func settings(of path: String) throws -> JSONValue {
        func text(_ value: (some Any)?) -> JSONValue { value.map { .string("\($0)") } ?? .null }
        func name(_ path: String?) -> JSONValue { path.map { .name($0) } ?? .null }
        let file = try MappedFile(path: path)
        let checksum = withExtendedLifetime(file) { "\(file.bytes.count)-\(CRC32.checksum(file.bytes))" }
        return .object([
            ("model", .name(source.model)), ("data", .name(data.name)), ("data_checksum", .string(checksum)),
            ("image_folder", name(imageFolder)), ("speech_folder", name(speechFolder)),
            ("towers", name(source.parts.towers)), ("sound_projector", name(source.parts.soundProjector)),
            ("adapter_dirs", .array(source.parts.adapterDir.map { .name("\($0.name)=\($0.path)") })),
            ("prompt", text(prompt)),
            ("system", text(answering.system)), ("max_tokens", .number(Double(answering.maxTokens))),
            ("adapter", .string(answering.adapter)), ("extractor", text(answering.extractor?.argument)),
            ("kv_type", .string(answering.kvType.rawValue)), ("precision", text(source.precision)),
            ("skip_silence", .bool(answering.skipSilence)), ("special_tokens", .bool(answering.specialTokens)),
            ("image_side", text(imageSide)), ("max_pixels", text(vision.maxPixels)),
            ("max_frames", .number(Double(vision.maxFrames))), ("with_audio", .bool(vision.withAudio)),
            ("speech_seconds", text(speechSeconds)),
        ])
    }

    private func finish(_ records: [AnswerRecord], _ settings: JSONValue, _ jsonFile: ReportFile?) throws {
        let report = scoring.report(records)
        let head: [(String, JSONValue)] = [("note", .string(scoreNote)), ("run", settings)]
        try doAll(
            { try printOutput(report.summary + "\n") },
            { try jsonFile?.write(JSONValue.object(head + report.json).text + "\n") })
    }
}
