import ArgumentParser
import LyraModel

/// Locations of parts outside the checkpoint's directory, shared by the commands that open a checkpoint.
struct PartArguments: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "A directory with the towers and the vocoder; searched after the places that the checkpoint names.",
            valueName: "dir"))
    var towers: String?

    @Option(
        help: ArgumentHelp(
            "The vocoder's file (g_… beside its config.json) or its directory, if it is not among the towers.",
            valueName: "path"))
    var vocoder: String?

    @Option(
        help: ArgumentHelp(
            "A file with mm_audio_projector's tensors, for --sound: the published checkpoints have none.",
            valueName: "file"))
    var soundProjector: String?

    @Option(
        help: ArgumentHelp(
            "Directory of an adapter that is not in the checkpoint, or that takes the place of the adapter of this "
                + "name. Can be given several times.", valueName: "name=dir"))
    var adapterDir: [AdapterDirectory] = []

    var adapterDirectories: [(name: String, path: String)] { adapterDir.map { ($0.name, $0.path) } }

    /// Default options with these locations.
    var checkpointOptions: CheckpointOptions {
        var options = CheckpointOptions()
        options.towers = towers
        options.vocoder = vocoder
        options.soundProjector = soundProjector
        options.adapterDirectories = adapterDirectories
        return options
    }
}

/// The value of `--adapter-dir`: `speech=runs/speech_lora`.
struct AdapterDirectory: ExpressibleByArgument {
    let name: String
    let path: String

    init?(argument: String) {
        // Scalars: as a Character, "=" would fuse with a combining mark after it.
        let parts = argument.unicodeScalars.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
        guard parts.count == 2, !parts[0].isEmpty, !parts[1].isEmpty else { return nil }
        (name, path) = (String(parts[0]), String(parts[1]))
    }
}
