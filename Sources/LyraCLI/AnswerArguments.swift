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

    func validate() throws {
        if maxTokens < 1 { throw ValidationError("--max-tokens must be at least 1") }
    }

    var options: SessionOptions {
        var options = SessionOptions()
        options.maxNewTokens = maxTokens
        options.adapter = SessionOptions.AdapterChoice(adapter)
        if let system { options.systemPrompt = system }
        return options
    }
}
