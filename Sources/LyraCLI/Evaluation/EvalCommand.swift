import ArgumentParser
import LyraEvaluation

struct EvalCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "eval",
        abstract:
            "Measures how well a checkpoint understands: word error rate, needles in haystacks, questions and answers.",
        discussion: "A checkpoint of random weights can be measured too, but its scores mean nothing.",
        subcommands: [
            TranscribeCommand.self, ScoreCommand.self, NeedleCommand.self, QuestionCommand.self,
            ScoreAnswersCommand.self,
        ])
}

extension TextNormalizer.Kind: ExpressibleByArgument {}

/// Options for normalizing texts before comparison.
struct NormalizerArguments: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "How to normalize texts before comparison: as Lyra's published evaluation does (lower case, contractions "
                + "written out), as Whisper's (also numbers, punctuation, …), or not at all."))
    var normalizer = TextNormalizer.Kind.reference

    @Option(
        help: ArgumentHelp(
            "American spellings for --normalizer whisper: the normalizer.json beside Whisper's weights. "
                + "Without it, spelling is unchanged.", valueName: "file"))
    var spellings: String?

    func validate() throws {
        if spellings != nil && normalizer != .whisper {
            throw ValidationError("--spellings is for --normalizer whisper")
        }
    }

    func make() throws -> TextNormalizer { try TextNormalizer(normalizer, spellings: spellings) }
}
