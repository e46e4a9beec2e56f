import ArgumentParser
import Glibc
import Lyra
import Synchronization

struct GenerateCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "generate", abstract: "Answers one turn: recordings and typed text in, text and speech out.")

    @OptionGroup var source: ModelArguments

    @Option(help: ArgumentHelp("A recording of speech; can be given several times.", valueName: "file"))
    var audio: [String] = []

    @Option(help: "Typed text; it follows the recordings.")
    var prompt: String?

    @Option(help: "The system prompt.")
    var system: String?

    @Option(help: ArgumentHelp("Speak the answer into this WAV file.", valueName: "file.wav"))
    var speak: String?

    @Option(help: "Sampling temperature; 0 is greedy and reproducible (default: the checkpoint's).")
    var temperature: Float?

    @Option(help: "Draw among the most likely tokens that together reach this share.")
    var topP: Float?

    @Option(help: "Draw among this many most likely tokens.")
    var topK: Int?

    @Option(help: "Drop tokens less likely than this share of the most likely.")
    var minP: Float?

    @Option(help: "Make tokens that were said already less likely, above 1.")
    var repetitionPenalty: Float?

    @Option(help: "The same seed and inputs give the same answer.")
    var seed: UInt64?

    @Option(help: "Tokens of the answer, at most.")
    var maxTokens = 1024

    @Option(help: "auto, none, or an adapter's name.")
    var adapter = "auto"

    @Flag(help: "Print one JSON object instead of the text.")
    var json = false

    func validate() throws {
        if audio.isEmpty && prompt == nil { throw ValidationError("give --audio, --prompt, or both") }
        if maxTokens < 1 { throw ValidationError("--max-tokens must be at least 1") }
        if let temperature, !(temperature >= 0) { throw ValidationError("--temperature must be at least 0") }
    }

    func run() throws {
        let start = now()
        // An output that cannot be written is found out before the work.
        let wave = try speak.map { try WaveFile(path: $0) }
        let model = try source.open()
        let loaded = now()
        let session = try Session(model, options: options())
        try feed(session)
        let answer = try answer(session, wave)
        if let rate = model.audioSampleRate { try wave?.finish(sampleRate: rate) }
        if json {
            let report = Report(
                text: answer.text, tokens: answer.tokens, units: answer.units, usage: session.usage, wave: wave,
                load: loaded - start, total: now() - start)
            write(report.json + "\n", to: STDOUT_FILENO)
        } else {
            write("\n", to: STDOUT_FILENO)
        }
    }

    private func options() -> SessionOptions {
        var options = SessionOptions()
        if let temperature {
            options.sampling = temperature == 0 ? .greedy : .random
            if temperature > 0 { options.temperature = temperature }
        } else if topP != nil || topK != nil || minP != nil || seed != nil {
            options.sampling = .random
        }
        options.topP = topP
        options.topK = topK
        options.minP = minP
        options.repetitionPenalty = repetitionPenalty
        options.seed = seed
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
    private func answer(_ session: Session, _ wave: WaveFile?) throws -> (text: String, tokens: [Int32], units: [Int32]) {
        let bar = ProgressBar()
        defer { bar.clear() }
        Interrupt.watch()
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
            if !json { write(String(decoding: new, as: UTF8.self), to: STDOUT_FILENO) }
            try wave?.append(session.readAudio())
        }
        return (String(decoding: text, as: UTF8.self), session.readTokens(), session.readUnits())
    }
}

/// Ctrl-C ends the answer and keeps what was said; a second one ends the program.
enum Interrupt {
    /// Set by the signal handler, which may do no more than that.
    private static let requested = Atomic<Bool>(false)

    static func watch() {
        _ = requested.load(ordering: .relaxed)  // made before a signal can come
        signal(SIGINT) { _ in
            signal(SIGINT, SIG_DFL)
            Interrupt.requested.store(true, ordering: .relaxed)
        }
    }

    static var isRequested: Bool { requested.load(ordering: .relaxed) }
}

/// Seconds, monotonic.
func now() -> Double {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
}
