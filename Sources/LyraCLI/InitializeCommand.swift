import ArgumentParser
import Lyra
import LyraTools

struct InitializeCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "initialize",
        abstract: "Makes a checkpoint for training from nothing, from configuration files.",
        discussion: """
            The directory of configuration files has a checkpoint's layout without the weights: config.json, \
            generation_config.json, the tokenizer's files; in the folders of the towers that config.json names \
            config.json and preprocessor_config.json; config.json of the vocoder in model_zoo/audio/vocoder; and for \
            each adapter a folder with adapter_config.json. All files are copied. Every part that they name gets \
            initial weights in F32, chosen so that training learns fast; adapters change nothing yet.

            The directory appears when it is complete. What a killed run leaves is a directory with .partial after its \
            name; it can be deleted.

              lyra initialize examples/nano/model -o start
              lyra train --stage pretrain --model start --data stories.jsonl --out run
            """)

    @Argument(help: "The directory of configuration files.")
    var directory: String

    @Option(
        name: [.short, .customLong("output")],
        help: ArgumentHelp("The directory to make: an empty one, or one that is not there yet.", valueName: "dir"))
    var output: String

    @Option(parsing: .unconditional, help: ArgumentHelp("The same seed gives the same numbers.", valueName: "n"))
    var seed = Seed(1)

    func run() throws {
        Interrupt.watch()
        let initializer = CheckpointInitializer(directory, seed: seed.value, note: { printError("note: " + $0) }) {
            if Interrupt.isRequested { throw LyraError(.state, "\(output): interrupted; nothing was written") }
        }
        let parts = try initializer.write(to: output)
        for part in parts { printError("\(part.part): \(part.parameters) parameters") }
        printError("wrote \(output): \(parts.reduce(0) { $0 + $1.parameters }) parameters, not trained yet")
    }
}
