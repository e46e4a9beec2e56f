import ArgumentParser
import Glibc
import Lyra

struct GenerateCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "generate", abstract: "Answers one turn: recordings and typed text in, text and speech out.",
        discussion: """
            The text is printed as it is made. Give --audio, --prompt, or both. Ctrl-C ends the answer and keeps what \
            was said.
            """)

    @OptionGroup var source: ModelArguments

    @Option(
        help: ArgumentHelp(
            "A recording of speech: WAV, FLAC, Ogg or MP3. Can be given several times.", valueName: "file"))
    var audio: [String] = []

    @Option(help: ArgumentHelp("Typed text; it follows the recordings.", valueName: "text"))
    var prompt: String?

    @Option(help: ArgumentHelp("The system prompt, in place of the usual one.", valueName: "text"))
    var system: String?

    @Option(help: ArgumentHelp("Also speak the answer, into this WAV file.", valueName: "file"))
    var speak: String?

    @Option(help: ArgumentHelp("Tokens of the answer, at most.", valueName: "n"))
    var maxTokens = 1024

    @Option(
        help: ArgumentHelp(
            "none, an adapter that 'lyra inspect' lists, or auto: speech or long_speech once speech is heard.",
            valueName: "name"))
    var adapter = "auto"

    @OptionGroup var sampling: SamplingArguments

    @Flag(help: "Print one JSON object instead of the text.")
    var json = false

    func validate() throws {
        if audio.isEmpty && prompt == nil { throw ValidationError("give --audio, --prompt, or both") }
        if maxTokens < 1 { throw ValidationError("--max-tokens must be at least 1") }
    }

    func run() throws {
        let start = now()
        Interrupt.watch()
        // An output that cannot be written is found out before the work.
        let wave = try speak.map { try WaveFile(path: $0) }
        var notes: [String] = []
        let model = try source.open(note: { notes.append($0) }, check: Interrupt.check)
        let loaded = now()
        let session = try Session(model, options: options())
        try feed(session)
        // Only now, because what is missing and was asked for is the error above, in a line of its own.
        for note in notes { printError("note: " + note) }
        let answer = try answer(session, wave)
        if let rate = model.audioSampleRate { try wave?.finish(sampleRate: rate) }
        if json {
            let report = Report(
                text: answer.text, tokens: answer.tokens, units: answer.units, usage: session.usage, wave: wave,
                load: loaded - start, total: now() - start)
            try printOutput(report.json + "\n")
        } else {
            try printOutput("\n")
        }
    }

    private func options() -> SessionOptions {
        var options = SessionOptions()
        sampling.apply(to: &options)
        options.maxNewTokens = maxTokens
        options.adapter = SessionOptions.AdapterChoice(adapter)
        options.speaks = speak != nil
        if let system { options.systemPrompt = system }
        return options
    }

    private func feed(_ session: Session) throws {
        for file in audio { try session.feed(speechFile: file) }
        if let prompt { try session.feed(text: prompt) }
        try session.endTurn()
    }

    /// Steps to the end; text goes out as it is made.
    private func answer(_ session: Session, _ wave: WaveFile?) throws -> (text: String, tokens: [Int32], units: [Int32])
    {
        let bar = ProgressBar()
        defer { bar.clear() }
        var text: [UInt8] = []
        var events = SessionEvents()
        while !events.contains(.end) {
            if Interrupt.isRequested { session.control.stop() }
            events = try session.step()
            switch session.progress.phase {
            case .encode: bar.show("encoding window", session.progress.done, session.progress.total)
            case .prefill: bar.show("reading", session.progress.done, session.progress.total)
            case .answer, .idle: bar.clear()
            }
            let new = session.readText()
            text += new
            if !json { try printOutput(String(decoding: new, as: UTF8.self)) }
            try wave?.append(session.readAudio())
        }
        return (String(decoding: text, as: UTF8.self), session.readTokens(), session.readUnits())
    }
}

/// Seconds, monotonic.
func now() -> Double {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
}
