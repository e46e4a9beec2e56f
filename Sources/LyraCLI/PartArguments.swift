import ArgumentParser
import LyraModel

/// Where a checkpoint's parts lie that are not in its own directory: shared by the commands that look into one.
struct PartArguments: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "A directory with the towers and the vocoder; looked through after the places the checkpoint names.",
            valueName: "dir"))
    var towers: String?

    @Option(
        help: ArgumentHelp(
            "The vocoder's file (g_… beside its config.json) or its directory, if it is not among the towers.",
            valueName: "path"))
    var vocoder: String?

    @Option(
        help: ArgumentHelp(
            "A file with mm_audio_projector's tensors, for --sound: the published checkpoints carry none.",
            valueName: "file"))
    var soundProjector: String?

    /// The usual options, with these places.
    var checkpointOptions: CheckpointOptions {
        var options = CheckpointOptions()
        options.towers = towers
        options.vocoder = vocoder
        options.soundProjector = soundProjector
        return options
    }
}
