import ArgumentParser
import Lyra
import LyraTensor

/// How a turn is understood and answered: shared by the commands that answer.
struct AnswerArguments: ParsableArguments {
    @Option(
        parsing: .unconditional, help: ArgumentHelp("The system prompt, in place of the usual one.", valueName: "text"),
        transform: typedText)
    var system: String?

    @Option(parsing: .unconditional, help: ArgumentHelp("Tokens of an answer, at most.", valueName: "n"))
    var maxTokens = 1024

    @Option(
        help: ArgumentHelp(
            "none, an adapter that 'lyra inspect' lists, or auto: speech or long_speech once speech is heard.",
            valueName: "name"))
    var adapter = "auto"

    @Option(
        help: ArgumentHelp(
            "Let media tokens go inside of the language model that the text attends to least: after each of so many "
                + "blocks of its layers but the last, this share stays. The paper's are blocks=4 with keep=0.8 or 0.7; "
                + "gap=n in place of blocks=n means blocks of n layers. \"off\" keeps all (default: as the checkpoint says).",
            valueName: "blocks=n,keep=x"), transform: ExtractorOption.init)
    var extractor: ExtractorOption?

    @Option(
        help: ArgumentHelp("How keys and values are kept: smaller types make room for longer conversations."))
    var kvType = KeyValueType.float32

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp(
            "Refuse what would take more bytes for keys, values and waiting prompts; K, M and G may follow (default: no "
                + "limit).", valueName: "bytes"))
    var maxMemory: ByteCount?

    @Flag(help: "Leave out windows of speech below -60 dB; the model was not trained so.")
    var skipSilence = false

    @Flag(
        help: ArgumentHelp(
            "Read the names of special tokens, such as <|im_end|>, in what is asked as those tokens. Without it they are "
                + "plain text; in the system prompt they always are."))
    var specialTokens = false

    func validate() throws {
        if maxTokens < 1 { throw ValidationError("--max-tokens must be at least 1") }
    }

    var options: SessionOptions {
        var options = SessionOptions()
        options.maxNewTokens = maxTokens
        options.adapter = SessionOptions.AdapterChoice(adapter)
        if let extractor { options.extractor = extractor.choice }
        options.keyValueType = kvType
        options.maxMemoryBytes = maxMemory?.bytes
        options.skipsSilence = skipSilence
        if let system { options.systemPrompt = system }
        return options
    }
}
