import ArgumentParser
import CKernels
import Lyra
import LyraBase
import LyraModel
import LyraTraining

struct TrainCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "train", abstract: "Computes the losses of training and their gradients.")

    @Option(help: ArgumentHelp("The checkpoint's directory, or a one-file model.", valueName: "path"))
    var model: String

    @OptionGroup var parts: PartArguments

    @Option(help: ArgumentHelp("The paper's stage: 2 trains an adapter and its speech projector.", valueName: "stage"))
    var stage = "2"

    @Option(help: ArgumentHelp("The adapter: speech, long_speech, …", valueName: "name"))
    var adapter = "speech"

    @Option(
        help: ArgumentHelp(
            "Prune media tokens inside the language model: see 'lyra generate --help' (default: off).",
            valueName: "blocks=n,keep=x"), transform: ExtractorOption.init)
    var extractor: ExtractorOption?

    @Option(
        name: .customLong("dry-run-gradients"),
        help: ArgumentHelp(
            "Train nothing; print the losses of this example and the norms of their gradients as one JSON object. A "
                + "safetensors file with in.encoder, in.before, in.after, in.answer and in.transcript.",
            valueName: "file"))
    var gradientCase: String

    @Option(parsing: .unconditional, help: ModelArguments.threadsHelp)
    var threads: Int?

    func validate() throws {
        if let threads, threads < 1 { throw ValidationError("--threads must be at least 1") }
        guard stage == "2" else { throw ValidationError("--dry-run-gradients is for --stage 2") }
    }

    func run() throws {
        lk_set_threads(Int32(clamping: threads ?? 0))
        let report = try GradientReport(
            of: GradientCase(path: gradientCase), checkpoint: model, options: parts.checkpointOptions,
            adapter: adapter, extractor: chosenExtractor)
        try printOutput(JSONText.encodeIndented(GradientDryRun(report, of: gradientCase)) + "\n")
    }

    /// Nil for none.
    private var chosenExtractor: Extractor? {
        if case .on(let chosen) = extractor?.choice { chosen } else { nil }
    }
}

/// What `--dry-run-gradients` prints.
struct GradientDryRun: Encodable {
    /// Names and numbers in the order in which they are written.
    struct Norms: Encodable {
        struct Name: CodingKey {
            let stringValue: String
            var intValue: Int? { nil }
            init(stringValue: String) { self.stringValue = stringValue }
            init?(intValue: Int) { nil }
        }

        let all: [(name: String, norm: Double)]

        func encode(to encoder: any Encoder) throws {
            var container = encoder.container(keyedBy: Name.self)
            for (name, norm) in all { try container.encode(norm, forKey: Name(stringValue: name)) }
        }
    }

    let cross_entropy: Double
    let lcmr: Double
    let total: Double
    /// The Euclidean norm of each gradient, sorted by name.
    let gradients: Norms

    /// - Throws: `LyraError.format`, naming the case, if a number is not finite.
    init(_ report: GradientReport, of path: String) throws {
        (cross_entropy, lcmr, total) = (report.crossEntropy, report.regularizer, report.total)
        gradients = Norms(
            all: try report.gradients.sorted { $0.key < $1.key }.map { ($0.key, try GradientClipping.norm([$0.value])) }
        )
        let numbers = [("the cross-entropy", cross_entropy), ("LCMR", lcmr)] + gradients.all.map { ($0.name, $0.norm) }
        if let (name, value) = numbers.first(where: { !$0.1.isFinite }) {
            throw LyraError(.format, "\(path): with this checkpoint, \(name) is \(value)")
        }
    }
}
