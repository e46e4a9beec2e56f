import ArgumentParser
import Lyra

/// Sampling options; an option that is not given has the value of the checkpoint's generation_config.json.
struct SamplingArguments: ParsableArguments {
    @Option(
        parsing: .unconditional,
        help: ArgumentHelp(
            "0 always picks the most likely token; higher is more varied (default: the checkpoint's).",
            valueName: "x"))
    var temperature: Float?

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp(
            "Sample among the most likely tokens that together reach this probability, 0…1.", valueName: "x"))
    var topP: Float?

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp("Sample among this many of the most likely tokens; 0 is all.", valueName: "n"))
    var topK: Int?

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp(
            "Leave out tokens whose probability is below this fraction, 0…1, of the highest.", valueName: "x"))
    var minP: Float?

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp("Above 1, tokens that have occurred become less likely; 1 has no effect.", valueName: "x"))
    var repetitionPenalty: Float?

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp("The same seed and input give the same answer (default: random).", valueName: "n")
    )
    var seed: Seed?

    func validate() throws {
        func require(_ condition: Bool?, _ message: String) throws {
            if condition == false { throw ValidationError(message) }
        }
        try require(temperature.map { $0 >= 0 && $0.isFinite }, "--temperature must be a number from 0 up")
        try require(topP.map { $0 >= 0 && $0 <= 1 }, "--top-p must be in 0…1")
        try require(topK.map { $0 >= 0 }, "--top-k must be at least 0")
        try require(minP.map { $0 >= 0 && $0 <= 1 }, "--min-p must be in 0…1")
        try require(
            repetitionPenalty.map { $0 > 0 && $0.isFinite }, "--repetition-penalty must be a number above 0")
    }

    func apply(to options: inout SessionOptions) {
        if let temperature {
            options.sampling = temperature == 0 ? .greedy : .random
            if temperature > 0 { options.temperature = temperature }
        } else if topP != nil || topK != nil || minP != nil || seed != nil {
            options.sampling = .random
        }
        options.topP = topP
        options.topK = topK
        options.minP = minP
        options.repetitionPenalty = repetitionPenalty
        options.seed = seed?.value
    }
}
