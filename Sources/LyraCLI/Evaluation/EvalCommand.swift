import ArgumentParser
import LyraEvaluation

struct EvalCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "eval", abstract: "Measures how well a checkpoint hears: word error rate, needles in haystacks.",
        discussion: "A checkpoint of random weights can be measured too, but its scores mean nothing.",
        subcommands: [TranscribeCommand.self, ScoreCommand.self, NeedleCommand.self])
}

extension TextNormalizer.Kind: ExpressibleByArgument {}

/// How texts are made comparable, as options.
struct NormalizerArguments: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "How texts are made comparable: as Lyra's published evaluation does it (small letters, contractions written "
                + "out), as Whisper's (also numbers, punctuation, …), or not at all."))
    var normalizer = TextNormalizer.Kind.reference

    @Option(
        help: ArgumentHelp(
            "American spellings for --normalizer whisper: the normalizer.json that lies beside Whisper's weights. "
                + "Without it spelling stays as it is.", valueName: "file"))
    var spellings: String?

    func validate() throws {
        if spellings != nil && normalizer != .whisper {
            throw ValidationError("--spellings is for --normalizer whisper")
        }
    }

    func make() throws -> TextNormalizer { try TextNormalizer(normalizer, spellings: spellings) }
}
