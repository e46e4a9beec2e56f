import ArgumentParser

struct DataCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "data",
        abstract: "Makes training data of speech corpora, transcripts and recordings.",
        discussion: """
            Writes what 'lyra train' reads, in the form of LLaVA's data files: one example with the keys id, \
            conversations, speech or long_speech, speech_asr and tgt_unit, as far as they apply. A file whose name \
            ends in .json is a JSON list; any other file has a JSON object on each line.
            """,
        subcommands: [LibriSpeechCommand.self, CommonVoiceCommand.self, LongSpeechCommand.self, UnitsCommand.self])
}
