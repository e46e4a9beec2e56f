import ArgumentParser
import LyraData

struct LibriSpeechCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "librispeech",
        abstract: "Turns LibriSpeech's folders into stage 1's data.",
        discussion: """
            DIR is a folder with LibriSpeech's files at any level: 19/198/19-198.trans.txt beside 19-198-0000.flac and \
            the others. Each utterance becomes one example: an instruction to transcribe the recording, and its text.

            The defaults are those of the published data: texts as Whisper's evaluation normalizes them, of 11 to 149 \
            words.

              lyra data librispeech LibriSpeech/train-clean-100 -o clean.jsonl
            """)

    @Argument(help: ArgumentHelp("A folder of LibriSpeech.", valueName: "dir"))
    var folder: String

    @OptionGroup var corpus: CorpusArguments

    @Option(help: "How texts are written. LibriSpeech itself has capitals only.")
    var text = TextStyle.whisper

    @Option(help: ArgumentHelp("Numbers of words that a text may have.", valueName: "n-m"))
    var words = WordRange(11...149)

    func run() throws {
        try corpus.write(corpus: "librispeech", style: text, words: words.range) { progress in
            try LibriSpeech.utterances(in: folder, check: progress.check)
        }
    }
}

struct CommonVoiceCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "commonvoice",
        abstract: "Turns a language of Common Voice into stage 1's data.",
        discussion: """
            DIR is the folder of a language, with validated.tsv and other tables, and the folder clips. Each row \
            becomes one example: an instruction to transcribe the recording, and its sentence.

              lyra data commonvoice cv-corpus-17.0/en --split train -o english.jsonl
            """)

    @Argument(help: ArgumentHelp("The folder of a language.", valueName: "dir"))
    var folder: String

    @Option(help: ArgumentHelp("The table: train, dev, test, validated, …", valueName: "name"))
    var split = "validated"

    @OptionGroup var corpus: CorpusArguments

    @Option(help: "How texts are written; whisper is for English.")
    var text = TextStyle.original

    @Option(help: ArgumentHelp("Numbers of words that a text may have.", valueName: "n-m"))
    var words = WordRange(1...149)

    func run() throws {
        try corpus.write(corpus: "commonvoice", style: text, words: words.range) { progress in
            try CommonVoice.utterances(in: folder, split: split, check: progress.check)
        }
    }
}
