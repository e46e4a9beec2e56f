import ArgumentParser
import Lyra

/// Options for images and videos, shared by the commands that take them.
struct VisionArguments: ParsableArguments {
    @Option(
        parsing: .unconditional, help: ArgumentHelp("Maximum number of video frames to encode.", valueName: "n"))
    var maxFrames = 16

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp(
            "Shrink larger images to this many pixels: fewer tokens, less time (default: the checkpoint's).",
            valueName: "n"))
    var maxPixels: Int?

    @Flag(help: "Feed a video's own audio as speech, after its frames.")
    var withAudio = false

    func validate() throws {
        if maxFrames < 1 { throw ValidationError("--max-frames must be at least 1") }
        if let maxPixels, maxPixels < 3136 { throw ValidationError("--max-pixels must be at least 3136") }
    }

    func apply(to options: inout SessionOptions) { options.maxImagePixels = maxPixels }

    var videoOptions: VideoOptions {
        var options = VideoOptions()
        options.maxFrames = maxFrames
        options.withAudio = withAudio
        return options
    }
}
