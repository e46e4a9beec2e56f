import ArgumentParser
import Glibc
import LyraBase
import LyraData

/// Options of a server that writes questions and answers.
struct ServerArguments: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "A server with OpenAI's interface, up to /chat/completions: http://localhost:8080/v1. It gets the "
                + "transcripts. Needs the program curl.", valueName: "url"))
    var server: String?

    @Option(help: ArgumentHelp("The server's model.", valueName: "name"))
    var serverModel: String?

    @Option(
        help: ArgumentHelp("The environment variable with the server's key, if it needs one.", valueName: "name"))
    var keyVariable = "OPENAI_API_KEY"

    @Option(
        help: ArgumentHelp(
            "A file that keeps the server's answers, for later runs (default: the output's name and "
                + ".answers.jsonl).", valueName: "file"))
    var answers: String?

    @Option(parsing: .unconditional, help: ArgumentHelp("Requests at the same time.", valueName: "n"))
    var parallel = 1

    @Option(parsing: .unconditional, help: ArgumentHelp("Requests a minute at most.", valueName: "n"))
    var rate: Double?

    @Option(parsing: .unconditional, help: ArgumentHelp("Seconds to wait for one answer.", valueName: "s"))
    var timeout = 120.0

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp("How often a failed request is made again, after a longer wait each time.", valueName: "n"))
    var retries = 5

    @Option(parsing: .unconditional, help: ArgumentHelp("Seconds to wait before the first retry.", valueName: "s"))
    var retryDelay = 1.0

    func validate() throws {
        guard (server == nil) == (serverModel == nil) else {
            throw ValidationError("--server and --server-model belong together")
        }
        guard (1...64).contains(parallel) else { throw ValidationError("--parallel must be in 1…64") }
        guard (0...100).contains(retries) else { throw ValidationError("--retries must be in 0…100") }
        guard (0.1...86_400).contains(timeout) else { throw ValidationError("--timeout must be in 0.1…86400") }
        guard (0...60).contains(retryDelay) else { throw ValidationError("--retry-delay must be in 0…60") }
        if let rate, !(rate > 0 && rate <= 1e6) { throw ValidationError("--rate must be above 0") }
    }

    /// The server; nil if none is named.
    func make() throws -> ChatServer? {
        guard let server, let serverModel else { return nil }
        let key = getenv(keyVariable).map { String(cString: $0) }
        var made = try ChatServer(url: server, model: serverModel, key: key == "" ? nil : key)
        made.timeout = timeout
        made.retries = retries
        made.retryDelay = retryDelay
        made.parallel = parallel
        made.requestsPerMinute = rate
        return made
    }
}
