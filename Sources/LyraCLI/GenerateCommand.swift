import ArgumentParser
import Glibc
import Lyra
import LyraBase

struct GenerateCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "generate",
        abstract: "Answers one turn: images, recordings and typed text in, text and speech out.",
        discussion: """
            The text is printed as it is generated. Give any of --image, --video, --audio, --sound and --prompt; the \
            turn has them in this order. A file named - is standard input, which can be given once. Ctrl-C ends the \
            answer and keeps the text so far.
            """)

    @OptionGroup var source: ModelArguments

    @Option(
        help: ArgumentHelp(
            "An image: JPEG, PNG, WebP, GIF, BMP or TIFF. Can be given several times.", valueName: "file"))
    var image: [InputFile] = []

    @Option(
        help: ArgumentHelp("A video: MP4, MOV, WebM, MKV, … Can be given several times.", valueName: "file"))
    var video: [InputFile] = []

    @Option(
        help: ArgumentHelp(
            "A recording of speech: WAV, FLAC, Ogg, MP3, M4A, … Can be given several times.", valueName: "file"))
    var audio: [InputFile] = []

    @Option(
        help: ArgumentHelp("Sound other than speech. Can be given several times.", valueName: "file"))
    var sound: [InputFile] = []

    @Option(
        parsing: .unconditional, help: ArgumentHelp("Text; it comes after all media.", valueName: "text"),
        transform: typedText)
    var prompt: String?

    @Option(help: ArgumentHelp("Also speak the answer, to this WAV file.", valueName: "file"))
    var speak: String?

    @OptionGroup var answering: AnswerArguments
    @OptionGroup var vision: VisionArguments
    @OptionGroup var sampling: SamplingArguments

    @Flag(help: "Print one JSON object instead of the text.")
    var json = false

    func validate() throws {
        if (image + video + audio + sound).isEmpty && prompt == nil {
            throw ValidationError("give --prompt, --image, --video, --audio or --sound")
        }
        if speak == "-" {
            throw ValidationError(
                "--speak writes a file, because standard output holds the text; ./- is a file named -")
        }
        try InputFile.checkStandardInput(image + video + audio + sound)
    }

    func run() throws {
        let start = MonotonicTime.seconds
        Interrupt.watch()
        // Fails before the work if the output cannot be written.
        let wave = try speak.map { try WaveWriter(path: $0) }
        let notes = Notes(.held)
        let model = try source.open(notes: notes, check: Interrupt.check)
        let loaded = MonotonicTime.seconds
        var options = answering.options
        vision.apply(to: &options)
        sampling.apply(to: &options)
        options.speaks = speak != nil
        let session = try Session(model, options: options)
        try FeedingWatch.during(feedingOf: session) { try feed(session) }
        // Shown only after feeding, which reports a missing part as an error if the turn needs the part.
        notes.show()
        let answer = try session.answer(into: wave, echoes: !json)
        if answer.tokens.isEmpty { try Interrupt.check() }
        try finish(wave, model)
        if json {
            let report = GenerateReport(
                text: answer.text, tokens: answer.tokens, units: answer.units, usage: session.usage, wave: wave,
                load: loaded - start, total: MonotonicTime.seconds - start)
            try printOutput(report.json + "\n")
        } else {
            try printOutput("\n")
        }
    }

    /// Gives the file its name, unless Ctrl-C came before any speech, in which case an existing file stays.
    private func finish(_ wave: WaveWriter?, _ model: Model) throws {
        guard let wave, let rate = model.audioSampleRate else { return }
        if wave.samples == 0, Interrupt.isRequested {
            printError("note: \(wave.path) was not written: nothing was spoken yet")
        } else {
            try wave.finish(sampleRate: rate)
        }
    }

    /// Feeds images and videos, then speech, then sound, then text, in the order of the training data.
    private func feed(_ session: Session) throws {
        for file in image { try session.feed(.image(.file(file.path()))) }
        for file in video { try session.feed(.video(.file(file.path()), vision.videoOptions)) }
        for file in audio { try session.feed(.speech(.file(file.path()))) }
        for file in sound { try session.feed(.sound(.file(file.path()))) }
        if let prompt { try session.feed(text: prompt, specialTokens: answering.specialTokens) }
        try session.endTurn()
    }
}
