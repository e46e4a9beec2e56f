import ArgumentParser
import CKernels
import Lyra
import LyraModel
import LyraTools
import LyraBase

struct ConvertCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "convert",
        abstract: "Converts a checkpoint with all its parts to one GGUF file.",
        discussion: """
            Commands accept the file in place of the checkpoint. A recipe determines how matrices are stored:

            \(Recipe.all.map { "  \(padded($0.name, 8))\($0.summary)" }.joined(separator: "\n"))

            In all but f32, the language model's norms and biases become F32 and adapters BF16; if matrices are \
            quantized, so are the vocoder's convolutions, and other F32 tensors of towers become BF16, but norms and \
            biases.

            An existing file is replaced once the new file is complete. After a failure, Ctrl-C, \
            SIGTERM or SIGHUP, nothing changes. Only kill -9 leaves an unfinished file behind, \
            in the same directory and with .partial after its name; it can be deleted.
            """)

    @Argument(help: "The checkpoint's directory, or a converted file.")
    var model: String

    @Option(name: [.short, .customLong("output")], help: ArgumentHelp("The file to write.", valueName: "file"))
    var output: String

    @Option(help: ArgumentHelp("The recipe.", valueName: "recipe"))
    var type = Recipe.q4_k_m

    @OptionGroup var parts: PartArguments

    @Option(
        help: ArgumentHelp(
            "llm: the language model alone, which llama.cpp reads too.", valueName: "part"))
    var part = ModelConverter.Scope.whole

    @Option(parsing: .unconditional, help: ModelArguments.threadsHelp)
    var threads: Int?

    func validate() throws {
        if let threads, threads < 1 { throw ValidationError("--threads must be at least 1") }
    }

    func run() throws {
        Interrupt.watch()
        lk_set_threads(Int32(clamping: threads ?? 0))
        let bar = ProgressBar()
        defer { bar.clear() }
        var notes: [String] = []
        var options = parts.checkpointOptions
        options.note = { notes.append($0) }
        options.progress = { _, _ in try check() }
        let converter = try ModelConverter(path: model, options: options, recipe: type, scope: part)
        let start = MonotonicTime.seconds
        let summary = try converter.write(to: output) { done, total in
            try check()
            bar.show("converting, MB:", done / 1_000_000, total / 1_000_000)
        }
        let seconds = MonotonicTime.seconds - start
        bar.clear()
        if part == .whole { for note in notes { printError("note: " + note + "; the file lacks it") } }
        if let first = summary.unused.first {
            printError(
                "note: left out \(summary.unused.count) tensors that lyra does not use, among them \(shown(first))"
            )
        }
        for note in roundingNotes(summary) { printError("note: " + note) }
        printError(line(summary, seconds))
    }

    private func roundingNotes(_ summary: ModelConverter.Summary) -> [String] {
        var notes: [String] = []
        if !summary.roundedBefore.isEmpty {
            let types = summary.roundedBefore.map(\.rawValue).joined(separator: ", ")
            notes.append("weights are \(types) already: converting does not restore the lost precision")
        }
        let made = Set(summary.types.map(\.type))
        if type == .q4_k_m, made.isDisjoint(with: [.q4_k, .q6_k]) {
            notes.append("no matrix has rows of a multiple of 256, as Q4_K needs: using Q8_0 instead")
        }
        return notes
    }

    private func check() throws {
        if Interrupt.isRequested { throw LyraError(.state, "\(output): interrupted; nothing was written") }
    }

    private func line(_ summary: ModelConverter.Summary, _ seconds: Double) -> String {
        let types = summary.types.map { "\($0.type.rawValue) × \($0.tensors)" }.joined(separator: ", ")
        let speed = Double(summary.bytesRead) / 1e6 / max(seconds, 1e-3)
        return "wrote \(output): \(summary.tensors) tensors (\(types)), \(megabytes(summary.bytesRead)) MB became "
            + "\(megabytes(summary.bytesWritten)) MB in \((seconds * 10).rounded() / 10) s, \(Int(speed)) MB/s"
    }
}

extension Recipe: ExpressibleByArgument {
    public init?(argument: String) { try? self.init(named: argument) }
    public var defaultValueDescription: String { name }
    public static var allValueStrings: [String] { all.map(\.name) }
}

extension ModelConverter.Scope: ExpressibleByArgument {}
