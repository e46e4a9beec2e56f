import ArgumentParser
import Lyra
import LyraTools

struct AssembleCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "assemble",
        abstract: "Makes a Lyra checkpoint of a Qwen2-VL, a Whisper and other open parts.",
        discussion: """
            The parts are directories and files as their makers publish them. The new directory has Lyra's published \
            layout: weights are linked (a hard link, else a symbolic link, else a copy), texts are copied, and \
            config.json, the index and the speech projector are written. Parts that do not belong together are refused \
            by name. A note on stderr names each part that the checkpoint lacks.

            The directory appears when it is complete. What a killed run leaves is a directory with .partial after its \
            name; it can be deleted.

              lyra assemble --llm Qwen2-VL-2B-Instruct --speech-tower whisper-large-v3-turbo -o start
            """)

    @Option(
        help: ArgumentHelp(
            "Directory of a Qwen2-VL, with or without its vision tower inside.", valueName: "dir"))
    var llm: String

    @Option(help: ArgumentHelp("Directory of a Whisper model, whose encoder hears speech.", valueName: "dir"))
    var speechTower: String?

    @Option(
        help: ArgumentHelp(
            "Directory of Qwen2-VL's vision tower alone; replaces one inside the language model's.", valueName: "dir"))
    var visionTower: String?

    @Option(help: ArgumentHelp("File of ImageBind, which hears sound other than speech.", valueName: "file"))
    var soundTower: String?

    @Option(help: ArgumentHelp("The vocoder's file (g_… beside its config.json) or its directory.", valueName: "path"))
    var vocoder: String?

    @Option(
        help: ArgumentHelp(
            "A trained speech projector, .bin or .safetensors (default: a fresh one, for stage 1 of the training).",
            valueName: "file"))
    var speechProjector: String?

    @Flag(help: "Scale speech tokens to length 1: for a projector that was trained so (speech_norm).")
    var speechNorm = false

    @Option(help: ArgumentHelp("A trained sound projector, .bin or .safetensors.", valueName: "file"))
    var soundProjector: String?

    @Option(
        help: ArgumentHelp(
            "Directory of an adapter; its name is the adapter's, like speech_lora. Can be given several times.",
            valueName: "dir"))
    var adapter: [String] = []

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp("Seed of a fresh speech projector; the same seed gives the same numbers.", valueName: "n"))
    var seed = Seed(1)

    @Flag(help: "Copy the weights instead of linking them.")
    var copy = false

    @Option(
        name: [.short, .customLong("output")],
        help: ArgumentHelp("The directory to make: an empty one, or one that is not there yet.", valueName: "dir"))
    var output: String

    func run() throws {
        Interrupt.watch()
        var parts = AssemblyParts(languageModel: llm)
        parts.speechTower = speechTower
        parts.visionTower = visionTower
        parts.soundTower = soundTower
        parts.vocoder = vocoder
        parts.speechProjector = speechProjector
        parts.normalizesSpeech = speechNorm
        parts.soundProjector = soundProjector
        parts.adapters = adapter
        let assembler = CheckpointAssembler(
            parts, seed: seed.value, copies: copy, note: { printError("note: " + $0) }
        ) {
            if Interrupt.isRequested { throw LyraError(.state, "\(output): interrupted; nothing was written") }
        }
        let summary = try assembler.write(to: output)
        printError(
            "wrote \(output): linked \(megabytes(summary.linkedBytes)) MB, copied \(megabytes(summary.copiedBytes)) MB "
                + "and wrote \(megabytes(summary.writtenBytes)) MB of weights")
    }
}
