import ArgumentParser
import Lyra
import LyraTensor

/// Options for answering a turn, shared by the commands that answer.
struct AnswerArguments: ParsableArguments {
    @Option(
        parsing: .unconditional, help: ArgumentHelp("The system prompt, instead of the default.", valueName: "text"),
        transform: typedText)
    var system: String?

    @Option(parsing: .unconditional, help: ArgumentHelp("Maximum number of tokens in an answer.", valueName: "n"))
    var maxTokens = 1024

    @Option(
        help: ArgumentHelp(
            "none, an adapter that 'lyra inspect' lists, or auto: speech or long_speech once speech is fed.",
            valueName: "name"))
    var adapter = "auto"

    @Option(
        help: ArgumentHelp(
            "Prune the media tokens that the text attends to least, inside the language model: after each of n "
                + "blocks of layers except the last, keep the share x. The paper uses blocks=4 with keep=0.8 or 0.7; "
                + "gap=n instead of blocks=n means blocks of n layers. \"off\" keeps all (default: the checkpoint's).",
            valueName: "blocks=n,keep=x"), transform: ExtractorOption.init)
    var extractor: ExtractorOption?

    @Option(
        help: ArgumentHelp("Storage type of keys and values: smaller types allow longer conversations."))
    var kvType = KeyValueType.float32

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp(
            "Limit in bytes for the KV cache, its pages that a rollback needs, and queued prompts; K, M and G may "
                + "follow (default: no limit).", valueName: "bytes"))
    var maxMemory: ByteCount?

    @Flag(help: "Skip windows of speech below -60 dB; the model was not trained this way.")
    var skipSilence = false

    @Flag(
        help: ArgumentHelp(
            "Read names of special tokens, such as <|im_end|>, in the prompt as those tokens. By default they are "
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
