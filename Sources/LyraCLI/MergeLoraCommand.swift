import ArgumentParser
import CKernels
import Lyra
import LyraModel
import LyraTensor
import LyraTools

struct MergeLoraCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "merge-lora",
        abstract: "Folds an adapter into a checkpoint's weights.",
        discussion: """
            Makes a checkpoint in the same layout that computes without an adapter what MODEL computes with it: \
            W + scale · B · A, computed in F32, and the adapter's own speech projector and whole modules in place of \
            MODEL's. Other adapters are left out, because they were trained with the weights before the merge. \
            Unchanged weights are linked (a hard link, else a symbolic link, else a copy).

            MODEL is a directory: a one-file model cannot be merged into, but 'lyra convert' converts the result. The \
            new directory appears when it is complete. What a killed run leaves is a directory with .partial after its \
            name; it can be deleted.

              lyra merge-lora Lyra_Mini_3B --adapter speech -o merged
            """)

    @Argument(help: "The checkpoint's directory.")
    var model: String

    @Option(help: ArgumentHelp("An adapter that 'lyra inspect' lists.", valueName: "name"))
    var adapter: String

    @Option(
        name: [.short, .customLong("output")],
        help: ArgumentHelp("The directory to make: an empty one, or one that is not there yet.", valueName: "dir"))
    var output: String

    @Option(help: "Type of the merged tensors: f32, bf16 or f16 (default: the type that each has in MODEL).")
    var type: TensorType?

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp(
            "Limit for a file of the language model; K, M and G may follow (default: 5000000000).", valueName: "bytes"))
    var shardSize: ByteCount?

    @Flag(help: "Copy unchanged weights instead of linking them.")
    var copy = false

    @OptionGroup var parts: PartArguments

    @Option(parsing: .unconditional, help: ModelArguments.threadsHelp)
    var threads: Int?

    /// The types in which trained tensors are written.
    enum TensorType: String, ExpressibleByArgument, CaseIterable {
        case f32, bf16, f16

        var elementType: ElementType {
            switch self {
            case .f32: .float32
            case .bf16: .bfloat16
            case .f16: .float16
            }
        }
    }

    func validate() throws {
        if let threads, threads < 1 { throw ValidationError("--threads must be at least 1") }
    }

    func run() throws {
        Interrupt.watch()
        lk_set_threads(Int32(clamping: threads ?? 0))
        var options = parts.checkpointOptions
        options.note = { printError("note: " + $0) }
        options.progress = { _, _ in try check() }
        let merger = try AdapterMerger(path: model, options: options, adapter: adapter, note: options.note)
        let summary = try merger.write(
            to: output, type: type?.elementType, shardBytes: shardSize?.bytes ?? ModelWriter.shardBytes, copies: copy,
            check: check)
        printError(
            "wrote \(output): linked \(megabytes(summary.linkedBytes)) MB, copied \(megabytes(summary.copiedBytes)) MB "
                + "and wrote \(megabytes(summary.writtenBytes)) MB of weights")
    }

    private func check() throws {
        if Interrupt.isRequested { throw LyraError(.state, "\(output): interrupted; nothing was written") }
    }
}
