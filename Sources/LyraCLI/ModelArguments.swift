import ArgumentParser
import Glibc
import Lyra

extension Precision: ExpressibleByArgument {}

/// Options of the model and how to open it, shared by the commands that need a model.
struct ModelArguments: ParsableArguments {
    static let precisionHelp = ArgumentHelp(
        "exact: F32, the reference's arithmetic without its rounding; fast: rounds to BF16, where the reference rounds "
            + "to FP16 (default: exact, but fast for quantized weights)."
    )
    static let threadsHelp = ArgumentHelp(
        "Number of compute threads, 256 at most; more means 256 (default: the available processors).", valueName: "n")

    @Option(
        name: .customLong("model"),
        help: ArgumentHelp("The checkpoint's directory, or a one-file model\(DefaultModel.help).", valueName: "path"))
    var givenModel: String?

    var model: String { givenModel ?? DefaultModel.name }

    @OptionGroup var parts: PartArguments

    @Option(help: ModelArguments.precisionHelp)
    var precision: Precision?

    @Option(parsing: .unconditional, help: ModelArguments.threadsHelp)
    var threads: Int?

    func validate() throws {
        if givenModel == nil { try DefaultModel.validate(missing: "--model <path>") }
        if let threads, threads < 1 { throw ValidationError("--threads must be at least 1") }
    }

    /// - Parameters:
    ///   - notes: receives messages about absent parts, and later about media that are fed
    ///   - check: called while parts are read; throws to abort
    func open(notes: Notes, check: @escaping () throws -> Void) throws -> Model {
        if givenModel == nil { DefaultModel.announce(missing: "--model") }
        let bar = ProgressBar()
        defer { bar.clear() }
        var options = ModelOptions()
        options.towersDirectory = parts.towers
        options.vocoder = parts.vocoder
        options.soundProjector = parts.soundProjector
        options.adapterDirectories = parts.adapterDirectories
        options.precision = precision
        options.threads = threads
        options.log = { level, message in if level == .warning { notes.add(message) } }
        options.progress = { done, total in
            try check()
            bar.show("opening", done, total)
        }
        return try Model(path: model, options: options)
    }
}

/// A progress line on stderr that is overwritten in place; silent unless stderr is a terminal.
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
