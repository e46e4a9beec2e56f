import ArgumentParser
import LyraBase
import LyraData
import LyraFormats

/// Options of the commands that write data files.
struct DataOutputArguments: ParsableArguments {
    @Option(
        name: [.short, .customLong("output")],
        help: ArgumentHelp("The data file to write: .json for a list, any other name for lines.", valueName: "file"))
    var output: String

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp(
            "How many percent of the recordings may be missing or damaged. Each is named and left out; with more, the "
                + "command fails.", valueName: "percent"))
    var maxBad = 1.0

    func validate() throws {
        guard (0...100).contains(maxBad) else { throw ValidationError("--max-bad must be in 0…100") }
    }

    var badShare: Double { maxBad / 100 }
}

/// How data files name recordings.
struct RootArguments: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "Folder that relative paths in the data file start from (default: the data file's folder). Recordings "
                + "outside it get absolute paths.", valueName: "dir"))
    var root: String?

    func paths(for output: String) throws -> MediaPaths {
        try MediaPaths(root: root ?? FileSystem.parent(of: output))
    }
}

extension RecordingCheck: ExpressibleByArgument {}

/// Messages and the progress of making data.
final class DataProgress {
    private let bar = ProgressBar()
    private let start = MonotonicTime.seconds

    /// - Throws: `LyraError.state` once Ctrl-C was pressed.
    func show(_ what: String, _ done: Int, _ total: Int) throws {
        try check()
        bar.show(what, done, total)
    }

    /// - Throws: `LyraError.state` once Ctrl-C was pressed.
    func check() throws {
        if Interrupt.isRequested { throw LyraError(.state, "interrupted; no data file was written") }
    }

    /// Prints a message above the progress.
    func note(_ message: String) {
        bar.clear()
        printError(message)
    }

    func clear() { bar.clear() }
}

/// A number and a noun: "1 example", "2 examples".
func counted(_ number: Int, _ noun: String, plural: String? = nil) -> String {
    "\(number) \(number == 1 ? noun : plural ?? noun + "s")"
}

/// Seconds as "12.3 h", or as "45 s" below six minutes.
func duration(_ seconds: Double) -> String {
    seconds < 360 ? "\(Int(seconds.rounded())) s" : "\((seconds / 360).rounded() / 10) h"
}
