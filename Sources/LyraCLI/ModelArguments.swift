import ArgumentParser
import Glibc
import Lyra

/// Which model, and how to open it: shared by the commands that need one.
struct ModelArguments: ParsableArguments {
    @Option(help: "The checkpoint's directory.")
    var model: String

    @Option(help: "A directory in which towers and the vocoder are looked for, after the places the checkpoint names.")
    var towers: String?

    @Option(help: "The vocoder's file or its directory.")
    var vocoder: String?

    @Option(help: "Threads to compute with (default: the processors that may be used).")
    var threads: Int?

    func validate() throws {
        if let threads, threads < 1 { throw ValidationError("--threads must be at least 1") }
    }

    /// - Parameter quiet: whether notes are left out
    func open(quiet: Bool = false) throws -> Model {
        let bar = ProgressBar()
        defer { bar.clear() }
        var options = ModelOptions()
        options.towersDirectory = towers
        options.vocoder = vocoder
        options.threads = threads
        if !quiet {
            options.log = { message in
                bar.clear()
                printError("note: " + message)
            }
        }
        options.progress = { done, total in bar.show("opening", done, total) }
        return try Model(path: model, options: options)
    }
}

/// One line on stderr that is drawn over; silent unless stderr is a terminal.
final class ProgressBar {
    private let isVisible = isatty(STDERR_FILENO) == 1
    private var isDrawn = false
    private var shown = ""

    func show(_ what: String, _ done: Int, _ total: Int) {
        guard isVisible else { return }
        let width = 30
        let filled = total > 0 ? min(max(done, 0), total) * width / total : 0
        let bar = String(repeating: "█", count: filled) + String(repeating: "░", count: width - filled)
        let line = total > 0 ? "\(what) \(bar) \(done)/\(total)" : "\(what) \(done)"
        guard line != shown else { return }
        shown = line
        isDrawn = true
        write("\r\u{1b}[K" + line, to: STDERR_FILENO)
    }

    func clear() {
        guard isDrawn else { return }
        write("\r\u{1b}[K", to: STDERR_FILENO)
        (isDrawn, shown) = (false, "")
    }
}
