import ArgumentParser
import Glibc
import Lyra

@main
struct LyraCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "lyra",
        abstract: "Runs Lyra models: text and speech in, text and speech out.",
        version: "0.1.0",
        subcommands: [GenerateCommand.self, InspectCommand.self, MakeTinyCommand.self, BenchCommand.self])

    /// A failure is one line on stderr and exit code 1; wrong usage is 64.
    static func main() {
        signal(SIGPIPE, SIG_IGN)
        do {
            var command = try parseAsRoot()
            do {
                try command.run()
            } catch let error as LyraError {
                complain(error.message)
            }
        } catch {
            exit(withError: error)
        }
    }

    private static func complain(_ message: String) -> Never {
        printError("lyra: " + message.split(separator: "\n").joined(separator: " "))
        Glibc.exit(1)
    }
}

/// Writes a line to stderr.
func printError(_ line: String) { write(line + "\n", to: STDERR_FILENO) }

/// Writes all of a text to a descriptor; a reader that went away is not our failure.
func write(_ text: String, to descriptor: Int32) {
    var text = text
    text.withUTF8 { bytes in
        var rest = UnsafeRawBufferPointer(bytes)
        while let base = rest.baseAddress, !rest.isEmpty {
            let count = Glibc.write(descriptor, base, rest.count)
            if count < 0 && errno == EINTR { continue }
            guard count > 0 else { return }
            rest = UnsafeRawBufferPointer(rebasing: rest[count...])
        }
    }
}
