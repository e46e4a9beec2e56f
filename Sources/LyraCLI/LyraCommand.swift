import ArgumentParser
import CKernels
import Glibc
import Lyra
import LyraBase

@main
struct LyraCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "lyra",
        abstract: "Runs Lyra models: text, images, video, speech and sound in, text and speech out.",
        discussion: """
            \(firstSteps)

            Answers and reports go to stdout, notes and progress to stderr. The exit status is 0, or 1 after one line \
            on stderr that says what was wrong, or 64 for wrong usage.
            """,
        version: "0.2.0",
        subcommands: [
            GenerateCommand.self, ChatCommand.self, InspectCommand.self, AssembleCommand.self, InitializeCommand.self,
            MergeLoraCommand.self, ConvertCommand.self, DataCommand.self, TrainCommand.self, PlotLogCommand.self,
            FeaturesCommand.self, LogitsCommand.self, MakeTinyCommand.self, BenchCommand.self, EvalCommand.self,
        ])

    /// How to try the tool without a download.
    private static var firstSteps: String {
        guard Model.hasNano else {
            return """
                To try it without a download, make a small model of random weights and ask it something:

                  lyra make-tiny tiny
                  lyra generate --model tiny --prompt "Hello" --max-tokens 20
                """
        }
        return """
            To try it without a download, ask \(DefaultModel.name), the small model inside:

              lyra generate --prompt "What is two plus two?"
            """
    }

    /// Prints a failure as one line on stderr with exit code 1; wrong usage has exit code 64.
    static func main() {
        signal(SIGPIPE, SIG_IGN)
        signal(SIGXFSZ, SIG_IGN)  // a write beyond the limit on file sizes then fails with an error
        openStandardStreams()
        Interrupt.endCleanly()
        do {
            let arguments = Arguments.all()
            try Arguments.checkForgottenValues(arguments)
            var command = try parseAsRoot(arguments)
            do {
                try checkInstructionSet()
                try command.run()
            } catch let error as LyraError {
                fail(error.message)
            }
        } catch {
            exit(reporting: error)
        }
    }

    /// Like `exit(withError:)`, but shows names that are not UTF-8 in printable form.
    private static func exit(reporting error: any Error) -> Never {
        let code = exitCode(for: error), text = SystemPath.printable(fullMessage(for: error))
        if !text.isEmpty { write(text + "\n", to: code == .success ? STDOUT_FILENO : STDERR_FILENO) }
        Glibc.exit(code.rawValue)
    }

    /// Opens /dev/null for standard streams that are closed. Otherwise the next opened file would get their descriptor
    /// and receive what is printed.
    private static func openStandardStreams() {
        for descriptor in STDIN_FILENO...STDERR_FILENO where fcntl(descriptor, F_GETFD) == -1 {
            _ = open("/dev/null", O_RDWR)
        }
    }

    /// Rejects an unknown LYRA_ISA, because the library has no way to report it and ignores it.
    private static func checkInstructionSet() throws {
        guard let value = getenv("LYRA_ISA"), value.pointee != 0 else { return }
        var known: [String] = []
        while let name = lk_isa_name(lk_isa(UInt32(known.count))) {
            if strcasecmp(name, value) == 0 { return }
            known.append(String(cString: name))
        }
        let given = String(cString: value).debugDescription
        throw LyraError(.argument, "LYRA_ISA is \(given); it can be \(known.joined(separator: ", "))")
    }

    private static func fail(_ message: String) -> Never {
        printError("lyra: " + message.split(separator: "\n").joined(separator: " "))
        Glibc.exit(1)
    }
}

/// Writes a line to stderr.
func printError(_ line: String) { write(SystemPath.printable(line) + "\n", to: STDERR_FILENO) }

/// Writes to stdout. A closed pipe is not an error; a full disk is.
///
/// - Throws: `LyraError.io` with the system's reason.
func printOutput(_ text: String) throws {
    let code = write(text, to: STDOUT_FILENO)
    guard code == 0 || code == EPIPE else {
        throw LyraError(.io, "standard output: cannot write: \(systemMessage(code))")
    }
}

/// Writes an entire text to a file descriptor. → 0, or the errno of the failure
@discardableResult
func write(_ text: String, to descriptor: Int32) -> Int32 {
    var text = text
    return text.withUTF8 { write(UnsafeRawBufferPointer($0)[...], to: descriptor) }
}

/// The same for bytes.
func write(_ bytes: Slice<UnsafeRawBufferPointer>, to descriptor: Int32) -> Int32 {
    var rest = UnsafeRawBufferPointer(rebasing: bytes)
    while let base = rest.baseAddress, !rest.isEmpty {
        let count = Glibc.write(descriptor, base, rest.count)
        if count < 0 && errno == EINTR { continue }
        if count < 0 && errno == EAGAIN {
            var waiting = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
            poll(&waiting, 1, -1)
            continue
        }
        guard count > 0 else { return count < 0 ? errno : EIO }
        rest = UnsafeRawBufferPointer(rebasing: rest[count...])
    }
    return 0
}
