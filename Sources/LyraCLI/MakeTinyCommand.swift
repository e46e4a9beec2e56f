import ArgumentParser
import Lyra
import LyraModel
import LyraTools

struct MakeTinyCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "make-tiny",
        abstract: "Writes a small checkpoint of random weights in the published layout.",
        discussion: "It runs like a real model, but its answers mean nothing: for tests, examples and measurements.")

    @Argument(help: "An empty directory, or one to create.")
    var directory: String

    @Option(parsing: .unconditional, help: ArgumentHelp("The same seed gives the same files.", valueName: "n"))
    var seed = Seed(1)

    @Option(help: "The size: a few MB, or the published ones of 7.1 GB and 20 GB.")
    var preset = PresetName.tiny

    @Option(help: ArgumentHelp("Maximum number of layers in each network; the widths stay.", valueName: "n"))
    var layers: Int?

    func validate() throws {
        if let layers, layers < 1 { throw ValidationError("--layers is \(layers); it can be 1 or more") }
    }

    func run() throws {
        let sizes = layers.map { preset.preset.limited(toLayers: $0) } ?? preset.preset
        try CheckpointWriter(directory: directory, preset: sizes, seed: seed.value).write()
        printError("wrote \(directory); its weights are random")
    }
}

/// Presets by name, as option values.
enum PresetName: String, ExpressibleByArgument, CaseIterable {
    case tiny, mini, base

    var preset: ModelPreset {
        switch self {
        case .tiny: .tiny
        case .mini: .mini
        case .base: .base
        }
    }
}
