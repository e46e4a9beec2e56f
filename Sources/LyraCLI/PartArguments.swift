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

    /// Default options with these locations.
    var checkpointOptions: CheckpointOptions {
        var options = CheckpointOptions()
        options.towers = towers
        options.vocoder = vocoder
        options.soundProjector = soundProjector
        return options
    }
}
