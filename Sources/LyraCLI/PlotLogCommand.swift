import ArgumentParser
import Lyra
import LyraBase
import LyraEvaluation
import LyraFormats

struct PlotLogCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "plot-log",
        abstract: "Draws the curves of training runs as SVG.",
        discussion: """
            A log has one JSON object on each line, with "step", "loss" and, if present, "cross_entropy", "lcmr", \
            "ctc", "validation_loss", "learning_rate" and "seconds". The first plot has the loss, its parts and the \
            validation loss, the last the learning rate. Several logs are drawn over each other, each in a color; the \
            parts of the loss then have plots of their own. A log can be drawn while its run still writes it.
            """)

    @Argument(help: ArgumentHelp("The logs.", valueName: "file"))
    var logs: [String]

    @Option(name: [.short, .long], help: ArgumentHelp("The SVG file (default: standard output).", valueName: "file"))
    var output: String?

    @Option(
        help: ArgumentHelp(
            "The name of a log in the legend, for each log in turn (default: its file's name).", valueName: "text"),
        transform: typedText)
    var name: [String] = []

    @Option(help: ArgumentHelp("The title.", valueName: "text"), transform: typedText)
    var title: String?

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp(
            "How much of its last value a smoothed line keeps at each point: 0, not smoothed, to 0.9999.",
            valueName: "x"))
    var smoothing = 0.9

    @Flag(help: "Draw losses on a logarithmic scale.")
    var logScale = false

    @Option(help: "The x axis.")
    var over = Axis.step

    enum Axis: String, CaseIterable, ExpressibleByArgument { case step, seconds }

    func validate() throws {
        guard smoothing >= 0, smoothing <= 0.9999 else { throw ValidationError("--smoothing must be in 0…0.9999") }
        guard !logs.isEmpty else { throw ValidationError("name at least one log") }
        guard name.isEmpty || name.count == logs.count else {
            throw ValidationError("there are \(name.count) --name for \(logs.count) logs; give one for each, or none")
        }
    }

    func run() throws {
        let file = try output.map { try ReportFile(path: $0) }
        let names = name.isEmpty ? defaultNames : name
        let runs = try zip(logs, names).map { try LoggedRun(path: $0, name: $1) }
        if over == .seconds, let timeless = zip(logs, runs).first(where: { $1.lacksSeconds }) {
            throw LyraError(.format, "\(timeless.0): no line has \"seconds\"; draw it over the steps")
        }
        var options = TrainingCurves.Options()
        options.smoothing = smoothing
        options.hasLogarithmicLoss = logScale
        options.isOverSeconds = over == .seconds
        options.title = title ?? names.joined(separator: ", ")
        let svg = TrainingCurves(runs, options).svg
        if let file { try file.write(svg) } else { try printOutput(svg) }
    }

    /// The names of the files without their endings; with their folders' names if two are equal.
    private var defaultNames: [String] {
        func stem(_ path: String) -> String {
            let name = FileSystem.name(of: path)
            let stem = name.hasSuffix(".jsonl") ? String(name.dropLast(6)) : name
            return SystemPath.printable(stem)
        }
        let stems = logs.map(stem)
        guard Set(stems).count < stems.count else { return stems }
        return zip(logs, stems).map { path, stem in
            SystemPath.printable(FileSystem.join(FileSystem.name(of: FileSystem.parent(of: path)), stem))
        }
    }
}

extension LoggedRun {
    fileprivate var lacksSeconds: Bool { !entries.contains { $0.values[.seconds] != nil } }
}
