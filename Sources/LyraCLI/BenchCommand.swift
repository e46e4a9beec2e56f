import ArgumentParser
import CKernels
import Glibc
import Lyra
import LyraBase
import LyraModel
import LyraTools
import LyraTensor

struct BenchCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "bench", abstract: "Measures speed and memory on random weights of a published size.",
        discussion: "Without a subcommand, 'lyra bench' is 'lyra bench parts' and takes its options.",
        subcommands: [
            PartsBenchCommand.self, KernelsBenchCommand.self, ExtractorBenchCommand.self, TrainingBenchCommand.self,
            ProcessesBenchCommand.self,
        ],
        defaultSubcommand: PartsBenchCommand.self)
}

struct PartsBenchCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "parts", abstract: "Times each part and compares it with the machine's limits.")

    @Option(help: "The size of the model.")
    var preset = PresetName.mini

    @Option(help: "Element type of the weights.")
    var dtype = WeightType.bf16

    @Option(parsing: .unconditional, help: ModelArguments.threadsHelp)
    var threads: Int?

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp(
            "Number of measurements, after a first that is not counted; the median is shown.",
            valueName: "n"))
    var repetitions = 3

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp("Length in tokens of the prompt whose prefill is timed.", valueName: "n"))
    var promptTokens = 512

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp("Number of tokens to decode, and length of the spoken answer.", valueName: "n"))
    var decodeTokens = 16

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp("Length in tokens of the prompt before the decoded tokens.", valueName: "n")
    )
    var decodeAfter = 128

    @Option(
        help: ArgumentHelp(
            "Also decode with so many sessions together, which share each read of the weights; numbers of 1…64, "
                + "separated by commas.", valueName: "n,…"))
    var sessions: NumberList?

    @Option(help: ModelArguments.precisionHelp)
    var precision: Precision?

    @Option(
        help: ArgumentHelp(
            "Measure only these parts, separated by commas: "
                + "\(BenchmarkPart.allCases.map(\.rawValue).joined(separator: ", ")) (default: all).",
            valueName: "parts"), transform: PartList.init)
    var only: PartList?

    @Option(
        help: ArgumentHelp(
            "A video to decode; - is standard input (default: 10 s of 1080p H.264, made with the ffmpeg command if it "
                + "is installed).",
            valueName: "file"))
    var video: InputFile?

    @Flag(help: "Print one JSON object instead of the table.")
    var json = false

    enum WeightType: String, ExpressibleByArgument, CaseIterable {
        case bf16, f16, f32, q8_0, q4_0, q4_k, q6_k

        /// The default precision of a model with this type: fast for quantized weights, otherwise exact.
        var usualPrecision: Precision { element.blockElements > 1 ? .fast : .exact }

        var element: ElementType {
            switch self {
            case .bf16: .bfloat16
            case .f16: .float16
            case .f32: .float32
            case .q8_0: .q8_0
            case .q4_0: .q4_0
            case .q4_k: .q4_k
            case .q6_k: .q6_k
            }
        }
    }

    func validate() throws {
        for (name, value) in [
            ("--threads", threads ?? 1), ("--repetitions", repetitions), ("--prompt-tokens", promptTokens),
            ("--decode-tokens", decodeTokens), ("--decode-after", decodeAfter),
        ] where value < 1 || value > 1 << 20 {
            throw ValidationError("\(name) must be in 1…\(1 << 20)")
        }
        guard sessions?.values.allSatisfy({ (1...64).contains($0) && $0 == $0.rounded() }) ?? true else {
            throw ValidationError("--sessions must be whole numbers of 1…64")
        }
    }

    func run() throws {
        if let threads { lk_set_threads(Int32(clamping: threads)) }
        let bar = ProgressBar()
        defer { bar.clear() }
        let limits = MachineLimits(repetitions: repetitions)
        var rows: [BenchmarkRow] = []
        let chosen = BenchmarkPart.allCases.filter { only?.parts.contains($0) ?? true }
        for part in chosen where !part.needsModel {
            bar.show(part.rawValue, 0, 0)
            rows += try limits.measure(part)
        }
        let parts = chosen.filter(\.needsModel)
        if !parts.isEmpty {
            bar.show("making random weights", 0, 0)
            let checkpoint = try Checkpoint.random(
                preset.preset, type: dtype.element, precision: precision ?? dtype.usualPrecision)
            let testVideo = video == nil && parts.contains(.video) ? TestVideo.make() : nil
            defer { testVideo?.remove() }
            let bench = Benchmarks(
                checkpoint, preset: preset.preset, limits: limits, repetitions: repetitions, promptTokens: promptTokens,
                decodeTokens: decodeTokens, decodeAfter: decodeAfter,
                sessionCounts: (sessions?.values ?? []).map { Int($0) }, video: try video?.path() ?? testVideo?.path)
            for part in parts {
                bar.show(part.rawValue, 0, 0)
                rows += try bench.measure(part)
            }
        }
        bar.clear()
        try printOutput((json ? report(rows).text : table(rows)) + "\n")
    }

    private func table(_ rows: [BenchmarkRow]) -> String {
        let weights = "\(dtype.rawValue), \((precision ?? dtype.usualPrecision).rawValue), random weights"
        let title = "\(preset.rawValue), \(weights); \(Machine.description); median of \(repetitions)"
        let header = "| part | what | result | share of the machine's limit |\n|---|---|--:|--:|"
        return ([title, "", header] + rows.map(\.line)).joined(separator: "\n")
    }

    private func report(_ rows: [BenchmarkRow]) -> JSONValue {
        .object([
            ("preset", .string(preset.rawValue)), ("dtype", .string(dtype.rawValue)),
            ("precision", .string((precision ?? dtype.usualPrecision).rawValue)),
            ("machine", .string(Machine.description)), ("threads", .number(Double(lk_threads()))),
            ("repetitions", .number(Double(repetitions))),
            ("results", .array(rows.map(\.json))),
        ])
    }
}

/// Names of parts, separated by commas.
struct PartList {
    let parts: [BenchmarkPart]

    /// - Throws: `ValidationError` for an unknown part.
    init(_ argument: String) throws {
        parts = try argument.split(separator: ",", omittingEmptySubsequences: false).map { name in
            guard let part = BenchmarkPart(rawValue: String(name)) else {
                let known = BenchmarkPart.allCases.map(\.rawValue).joined(separator: ", ")
                throw ValidationError("there is no part \"\(name)\"; there are \(known)")
            }
            return part
        }
    }
}

/// One line of the table.
struct BenchmarkRow {
    var part: String
    var what: String
    var value: Double
    var unit: String
    /// The machine's limit, measured before and after the part.
    var limit: Limit?

    struct Limit {
        var name: String
        /// Operations or bytes per second, before and after.
        var rates: [Double]
        /// Operations or bytes per second of the part.
        var reached: Double

        var share: Double { reached / mean(rates) }
    }

    var line: String {
        let share = limit.map { "\(Int(($0.share * 100).rounded())) % of \($0.name)" } ?? ""
        return "| \(part) | \(what) | \(Self.rounded(value)) \(unit) | \(share) |"
    }

    var json: JSONValue {
        var members: [(String, JSONValue)] = [
            ("part", .string(part)), ("what", .string(what)), ("value", .number(value)), ("unit", .string(unit)),
        ]
        if let limit {
            members += [
                ("share", .number(limit.share)), ("share_of", .string(limit.name)),
                ("limit", .number(mean(limit.rates))), ("limit_samples", .array(limit.rates.map { .number($0) })),
            ]
        }
        return .object(members)
    }

    /// Rounds to three significant digits.
    private static func rounded(_ value: Double) -> String {
        value >= 100
            ? "\(Int(value.rounded()))"
            : value >= 10 ? "\((value * 10).rounded() / 10)" : "\((value * 100).rounded() / 100)"
    }
}

func mean(_ values: [Double]) -> Double { values.reduce(0, +) / Double(values.count) }
