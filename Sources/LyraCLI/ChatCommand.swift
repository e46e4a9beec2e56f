import ArgumentParser
import Lyra

struct ChatCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "chat",
        abstract: "Holds a conversation: type text, add images and recordings, and read or hear the answers.",
        discussion: ChatInput.helpText)

    @OptionGroup var source: ModelArguments
    @OptionGroup var answering: AnswerArguments
    @OptionGroup var vision: VisionArguments
    @OptionGroup var sampling: SamplingArguments

    func run() throws {
        Interrupt.watch()
        let model = try source.open(notes: Notes(.shown), check: Interrupt.check)
        var options = answering.options
        vision.apply(to: &options)
        sampling.apply(to: &options)
        var chat = try Chat(
            Session(model, options: options), video: vision.videoOptions, specialTokens: answering.specialTokens)
        Interrupt.watchAlways()
        try chat.run()
    }
}

/// One line of a chat, parsed.
enum ChatInput: Equatable {
    case text(String)
    case image(String)
    case audio(String)
    case video(String)
    case sound(String)
    case say(Bool)
    case reset
    case help
    case quit
    /// Answers the media that were fed so far.
    case emptyLine
    /// A line with a slash that is not a command, with an error message.
    case unknown(String)

    /// Whether the line adds a medium to the turn that the next line answers.
    var isMedium: Bool {
        switch self {
        case .image, .audio, .video, .sound: true
        default: false
        }
    }

    static let helpText = """
        Type a line to get an answer. Lines that begin with a slash are commands:

          /image FILE   /video FILE   add an image or a video to the next line
          /audio FILE   add speech; an empty line answers it without text
          /sound FILE   add sound other than speech
          /say on       also speak the answers, to lyra-1.wav, lyra-2.wav, … in this directory; /say off ends it
          /reset        forget the conversation
          /help         show this list
          /quit         leave; Ctrl-D does the same

        Ctrl-C stops the answer and keeps the text so far. Lines can also come from a file or a pipe; the first error \
        then ends the chat.
        """

    init(_ line: String) {
        let line = line.trimmed
        guard line.hasPrefix("/") else {
            self = line.isEmpty ? .emptyLine : .text(line)
            return
        }
        let name = String(line.prefix { !$0.isWhitespace }), rest = String(line.dropFirst(name.count)).trimmed.unquoted
        switch (name, rest.isEmpty) {
        case ("/image", _) where rest == "-", ("/audio", _) where rest == "-", ("/video", _) where rest == "-",
            ("/sound", _) where rest == "-":
            self = .unknown(
                "\(name) -: standard input holds the lines of the chat; name a file (./- for a file named -)")
        case ("/image", false): self = .image(rest)
        case ("/audio", false): self = .audio(rest)
        case ("/video", false): self = .video(rest)
        case ("/sound", false): self = .sound(rest)
        case ("/image", true), ("/audio", true), ("/video", true), ("/sound", true):
            self = .unknown("\(name) needs a file: \(name) FILE")
        case ("/say", _) where rest == "on" || rest == "off": self = .say(rest == "on")
        case ("/say", _): self = .unknown("/say on, or /say off")
        case ("/reset", true): self = .reset
        case ("/help", true): self = .help
        case ("/quit", true), ("/exit", true): self = .quit
        case ("/reset", _), ("/help", _), ("/quit", _), ("/exit", _): self = .unknown("\(name) takes no argument")
        default: self = .unknown("there is no \(name); /help lists the commands")
        }
    }
}

extension String {
    fileprivate var trimmed: String {
        let start = drop { $0.isWhitespace }
        return String(start.prefix(start.count - start.reversed().prefix { $0.isWhitespace }.count))
    }

    /// Removes the quotes that terminals put around a file dropped onto them.
    fileprivate var unquoted: String {
        guard count >= 2, let quote = first, quote == "'" || quote == "\"", last == quote else { return self }
        return String(dropFirst().dropLast())
    }
}

/// A conversation in the terminal.
private struct Chat {
    private let session: Session
    private let video: VideoOptions
    /// Whether names of special tokens in typed lines become those tokens.
    private let specialTokens: Bool
    private let reader = LineReader()
    private var answers = 0
    /// Whether media were fed that are not answered yet.
    private var hasMedia = false

    init(_ session: Session, video: VideoOptions, specialTokens: Bool) {
        self.session = session
        self.video = video
        self.specialTokens = specialTokens
    }

    /// Runs until the input ends or `/quit`.
    ///
    /// - Throws: the first error, if stdin or stdout is not a terminal; in a terminal the error is printed and the chat
    ///   continues.
    mutating func run() throws {
        if reader.isInteractive { printError("Type something, or /help.") }
        while true {
            switch reader.read(prompt: hasMedia ? "+> " : "> ") {
            case .end:
                if reader.isInteractive { try printOutput("\n") }
                noteUnanswered()
                return
            case .interrupted:
                printError("")
                printError("(Ctrl-D or /quit to leave)")
            case .text(let line):
                let input = ChatInput(line)
                if input == .quit { return noteUnanswered() }
                do { try obey(input) } catch let error as LyraError where reader.isInteractive {
                    printError("lyra: " + error.message)
                }
            }
        }
    }

    /// Prints a note if a script ends with media that are not answered.
    private func noteUnanswered() {
        guard hasMedia, !reader.isInteractive else { return }
        printError("note: the last media were not answered; an empty line answers them without text")
    }

    private mutating func obey(_ input: ChatInput) throws {
        switch input {
        case .text(let text):
            try session.feed(text: typedText(text), specialTokens: specialTokens)
            try answer()
        case .emptyLine: if hasMedia { try answer() }
        case .image(let file): try feed { try $0.feed(.image(.file(file))) }
        case .audio(let file): try feed { try $0.feed(.speech(.file(file))) }
        case .video(let file): try feed { [video] in try $0.feed(.video(.file(file), video)) }
        case .sound(let file): try feed { try $0.feed(.sound(.file(file))) }
        case .say(let on): try session.setSpeaks(on)
        case .reset:
            try session.reset()
            hasMedia = false
        case .help: printError(ChatInput.helpText)
        case .unknown(let message): throw LyraError(.argument, message)
        case .quit: break
        }
        if input.isMedium { hasMedia = true }
    }

    /// Feeds a file. Ctrl-C interrupts the reading and discards the turn that was being fed.
    private mutating func feed(_ body: (Session) throws -> Void) throws {
        Interrupt.clear()
        defer { Interrupt.clear() }
        do { try FeedingWatch.during(feedingOf: session) { try body(session) } } catch {
            if Interrupt.isRequested { hasMedia = false }
            throw error
        }
    }

    private mutating func answer() throws {
        hasMedia = false
        Interrupt.clear()
        defer { Interrupt.clear() }
        let (turn, wave): (TurnOutput, WaveWriter?)
        do {
            wave = session.speaks ? try WaveWriter(path: "lyra-\(answers + 1).wav") : nil
            try session.endTurn()
            turn = try session.answer(into: wave, echoes: true)
        } catch {
            // An output error ends the turn and discards what was fed, but the conversation continues.
            session.control.cancel()
            if session.isAnswering { _ = try session.step() }
            throw error
        }
        try printOutput("\n")
        if let wave, let rate = session.model.audioSampleRate, !turn.units.isEmpty {
            answers += 1
            try wave.finish(sampleRate: rate)
            printError("(\(wave.path), \(Double(Int(wave.seconds * 10)) / 10) s)")
        }
    }
}
