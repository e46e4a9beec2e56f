import ArgumentParser
import Lyra

/// How a turn is understood and answered: shared by the commands that answer.
struct AnswerArguments: ParsableArguments {
    @Option(help: ArgumentHelp("The system prompt, in place of the usual one.", valueName: "text"))
    var system: String?

    @Option(help: ArgumentHelp("Tokens of an answer, at most.", valueName: "n"))
    var maxTokens = 1024

    @Option(
        help: ArgumentHelp(
            "none, an adapter that 'lyra inspect' lists, or auto: speech or long_speech once speech is heard.",
            valueName: "name"))
    var adapter = "auto"

    @Option(help: ArgumentHelp("Frames of a video that are looked at, at most.", valueName: "n"))
    var maxFrames = 16

    @Option(
        help: ArgumentHelp(
            "Shrink larger pictures to this many pixels: fewer tokens, less time (default: the checkpoint's).",
            valueName: "n"))
    var maxPixels: Int?

    @Flag(help: "Feed a video's own audio as speech, after its frames.")
    var withAudio = false

    func validate() throws {
        if maxTokens < 1 { throw ValidationError("--max-tokens must be at least 1") }
        if maxFrames < 1 { throw ValidationError("--max-frames must be at least 1") }
        if let maxPixels, maxPixels < 3136 { throw ValidationError("--max-pixels must be at least 3136") }
    }

    var options: SessionOptions {
        var options = SessionOptions()
        options.maxNewTokens = maxTokens
        options.adapter = SessionOptions.AdapterChoice(adapter)
        options.maxImagePixels = maxPixels
        if let system { options.systemPrompt = system }
        return options
    }

    var videoOptions: VideoOptions {
        var options = VideoOptions()
        options.maxFrames = maxFrames
        options.withAudio = withAudio
        return options
    }
}
