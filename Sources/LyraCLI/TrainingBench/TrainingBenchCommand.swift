import ArgumentParser
import CKernels
import Lyra
import LyraBase
import LyraModel
import LyraTensor
import LyraTools

struct TrainingBenchCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "train", abstract: "Times training steps of a language model with random weights.",
        discussion: """
            A step is the forward pass, the loss (output head and cross-entropy, with their gradients), the backward \
            pass of the layers, and AdamW's update. Without media, every token is a target. With --extractor, steps \
            with and without it are measured in turns, on examples of \(TrainingBench.Batch.opening) tokens of text, \
            media, a question of \(TrainingBench.Batch.question) tokens, and an answer, whose tokens are the targets.
            """)

    /// Language models to train.
    enum Size: String, ExpressibleByArgument, CaseIterable {
        case small, tiny, mini, base

        var language: DecoderConfiguration {
            switch self {
            case .small:
                DecoderConfiguration(
                    hiddenSize: 512, layers: 8, heads: 8, kvHeads: 2, intermediateSize: 1408, vocabularySize: 8192,
                    mropeSections: [8, 12, 12], tiesEmbeddings: true)
            case .tiny: ModelPreset.tiny.language
            case .mini: ModelPreset.mini.language
            case .base: ModelPreset.base.language
            }
        }
    }

    @Option(help: "The size of the language model; small has 8 layers of 512.")
    var preset = Size.small

    @Option(help: "What is trained: low-rank updates of all matrices of the layers, or all weights.")
    var weights = TrainedWeights.lora

    @Option(parsing: .unconditional, help: ArgumentHelp("Rank of the low-rank updates.", valueName: "n"))
    var rank = 64

    @Option(help: "Element type of the frozen weights.")
    var dtype = PartsBenchCommand.WeightType.f32

    @Option(help: ModelArguments.precisionHelp)
    var precision: Precision?

    @Option(parsing: .unconditional, help: ArgumentHelp("Tokens of an example.", valueName: "n"))
    var tokens = 512

    @Option(parsing: .unconditional, help: ArgumentHelp("Examples of a step.", valueName: "n"))
    var samples = 4

    @Option(help: ArgumentHelp("Share of media tokens (default: 0, or 0.8 with --extractor).", valueName: "x"))
    var media: Double?

    @Option(
        help: ArgumentHelp(
            "Measures steps with this extractor too: blocks=4,keep=0.7, or gap=7,keep=0.7.", valueName: "extractor"),
        transform: ExtractorOption.init)
    var extractor: ExtractorOption?

    @Flag(help: "Keep only the layers' inputs, and compute each layer again for its gradient.")
    var recompute = false

    @Option(parsing: .unconditional, help: ModelArguments.threadsHelp)
    var threads: Int?

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp(
            "Number of measurements, after a first that is not counted; medians are shown.", valueName: "n"))
    var repetitions = 3

    @Flag(help: "Print one JSON object instead of the table.")
    var json = false

    func validate() throws {
        for (name, value, least, most) in [
            ("--threads", threads ?? 1, 1, 1 << 20), ("--repetitions", repetitions, 1, 1 << 20),
            ("--rank", rank, 1, 4096), ("--tokens", tokens, 128, 1 << 20), ("--samples", samples, 1, 1024),
        ] where value < least || value > most {
            throw ValidationError("\(name) must be in \(least)…\(most)")
        }
        guard (0...0.8).contains(mediaShare) else { throw ValidationError("--media must be in 0…0.8") }
        if schedule != nil, mediaShare == 0 { throw ValidationError("--extractor needs media tokens") }
    }

    private var usedPrecision: Precision { precision ?? dtype.usualPrecision }
    private var mediaShare: Double { media ?? (extractor == nil ? 0 : 0.8) }
    private var schedule: ExtractionSchedule? {
        guard case .on(let extractor)? = extractor?.choice else { return nil }
        return ExtractionSchedule(extractor, layers: preset.language.layers)
    }

    func run() throws {
        if let threads { lk_set_threads(Int32(clamping: threads)) }
        let bar = ProgressBar()
        defer { bar.clear() }
        bar.show("making random weights", 0, 0)
        // Room for the results of all layers, which each step frees and needs again.
        if !recompute { BufferPool.keep(upTo: 2 << 30) }
        var bench = try TrainingBench(
            preset.language, training: weights, type: dtype.element, precision: usedPrecision, rank: rank)
        let batch = TrainingBench.Batch(tokens: tokens, samples: samples, mediaShare: mediaShare)
        var cases = [Case(name: "", schedule: nil)]
        if let schedule { cases.append(Case(name: "extractor, ", schedule: schedule)) }
        for round in 0...repetitions {
            for index in cases.indices {
                bar.show("step", round, repetitions + 1)
                let resets = ProcessMemory.resetPeak()
                let durations = try bench.step(
                    batch, schedule: cases[index].schedule, recomputesLayers: recompute)
                // The first step fills caches and buffers.
                if round > 0 { cases[index].durations.append(durations) }
                if resets { cases[index].peak = max(cases[index].peak ?? 0, ProcessMemory.peak ?? 0) }
            }
        }
        bar.clear()
        let rows = cases.flatMap { self.rows($0) } + ratios(cases)
        try printOutput((json ? report(rows).text : table(rows)) + "\n")
    }

    /// A way to make steps, and what was measured of it.
    private struct Case {
        let name: String
        let schedule: ExtractionSchedule?
        var durations: [TrainingBench.Durations] = []
        var peak: Int?

        func median(_ part: KeyPath<TrainingBench.Durations, Double>) -> Double {
            durations.map { $0[keyPath: part] }.sorted()[durations.count / 2]
        }
    }

    private var title: String { "training, " + (weights == .lora ? "LoRA of rank \(rank)" : "all weights") }

    private func rows(_ made: Case) -> [BenchmarkRow] {
        let size = "\(samples) × \(tokens) tokens"
        let parts: [(String, KeyPath<TrainingBench.Durations, Double>)] = [
            ("step", \.step), ("forward", \.forward), ("loss", \.loss), ("backward", \.backward),
            ("update", \.update), ("layers", \.layers),
        ]
        var rows = parts.map { name, part in
            BenchmarkRow(
                part: title, what: "\(made.name)\(name) of \(size)", value: made.median(part), unit: "s", limit: nil)
        }
        if let peak = made.peak {
            rows.append(
                BenchmarkRow(
                    part: title, what: "\(made.name)peak memory of \(size)", value: Double(peak) / 1e9, unit: "GB",
                    limit: nil))
        }
        return rows
    }

    /// Steps with the extractor, compared with those without.
    private func ratios(_ cases: [Case]) -> [BenchmarkRow] {
        guard cases.count == 2 else { return [] }
        let parts: [(String, KeyPath<TrainingBench.Durations, Double>)] = [("step", \.step), ("layers", \.layers)]
        return parts.map { name, part in
            let shares = zip(cases[0].durations, cases[1].durations).map { $1[keyPath: part] / $0[keyPath: part] }
            return BenchmarkRow(
                part: title, what: "extractor: \(name), share of that without",
                value: shares.sorted()[shares.count / 2], unit: "", limit: nil)
        }
    }

    private func table(_ rows: [BenchmarkRow]) -> String {
        let kind = "\(dtype.rawValue), \(usedPrecision.rawValue), random weights"
        let title = "\(preset.rawValue), \(kind); \(Machine.description); medians of \(repetitions)"
        let header = "| part | what | result | |\n|---|---|--:|--:|"
        return ([title, "", header] + rows.map(\.line)).joined(separator: "\n")
    }

    private func report(_ rows: [BenchmarkRow]) -> JSONValue {
        .object([
            ("preset", .string(preset.rawValue)), ("dtype", .string(dtype.rawValue)),
            ("precision", .string(usedPrecision.rawValue)), ("weights", .string(weights.rawValue)),
            ("machine", .string(Machine.description)), ("threads", .number(Double(lk_threads()))),
            ("repetitions", .number(Double(repetitions))),
            ("results", .array(rows.map(\.json))),
        ])
    }
}

extension TrainedWeights: ExpressibleByArgument {}
