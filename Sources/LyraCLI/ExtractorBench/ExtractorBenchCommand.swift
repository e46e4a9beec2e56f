import ArgumentParser
import CKernels
import Lyra
import LyraBase
import LyraModel
import LyraTools
import LyraTensor

struct ExtractorBenchCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "extractor",
        abstract:
            "Measures what the extractor saves, on random weights: the paper's Table 4, with the theoretical savings.",
        discussion: """
            Each length is prefilled in turn without the extractor and with each share kept. The prompt is media \
            tokens with \(ExtractorBench.opening) text tokens before and a question of \(ExtractorBench.question) \
            after. Then \(ExtractorBench.decodeTokens) tokens are decoded. The results are medians; after five minutes \
            at a length, it is not measured again. Lengths that do not fit in memory are left out, with a note.

            Theory: with n blocks the layers compute the shares 1, ρ, ρ², … of the media tokens. Matrices and the \
            KV cache need the mean of the shares, attention the mean of their squares. Prefill needs the operations \
            of matrices and attention together.

            Ctrl-C stops and keeps the finished results.
            """)

    @Option(help: "The size of the language model.")
    var preset = PresetName.mini

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp(
            "Prompt lengths, separated by commas: 128…16777216 tokens, or 7…24 for powers of 2.", valueName: "n,…"))
    var lengths: NumberList = "11,12,13"

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp("Shares of media tokens to keep after a block, separated by commas.", valueName: "x,…"))
    var keep: NumberList = "0.8,0.7,0.5"

    @Option(parsing: .unconditional, help: ArgumentHelp("Number of blocks of layers.", valueName: "n"))
    var blocks = 4

    @Option(name: [.customLong("dtype"), .customLong("type")], help: "Element type of the weights.")
    var dtype = PartsBenchCommand.WeightType.bf16

    @Option(help: "Storage type of keys and values.")
    var kvType = KeyValueType.float32

    @Option(parsing: .unconditional, help: ModelArguments.threadsHelp)
    var threads: Int?

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp("Number of measurements; the median is shown.", valueName: "n"))
    var repetitions = 3

    @Option(help: ArgumentHelp("Also write all results to this file as one JSON object.", valueName: "file"))
    var json: String?

    @Option(help: ArgumentHelp("Also draw seconds, tokens per second and memory to this SVG file.", valueName: "file"))
    var plot: String?

    func validate() throws {
        for (name, value) in [("--threads", threads ?? 1), ("--repetitions", repetitions)]
        where value < 1 || value > 1 << 20 {
            throw ValidationError("\(name) must be in 1…\(1 << 20)")
        }
        guard tokens.allSatisfy({ $0 >= 128 && $0 <= 1 << 24 }) else {
            throw ValidationError("--lengths must be whole numbers of 128…\(1 << 24) tokens, or of 7…24 as powers of 2")
        }
        for share in keep.values { _ = try extractor(share) }
    }

    /// 0 for an invalid length.
    private var tokens: [Int] {
        lengths.values.map { value in
            guard let whole = Int(exactly: value), whole > 0 else { return 0 }
            return whole < 32 ? 1 << whole : whole
        }
    }

    private func extractor(_ share: Double) throws -> Extractor {
        do { return try Extractor(blocks: blocks, keep: Float(share)) } catch let error as LyraError {
            throw ValidationError(error.message)
        }
    }

    func run() throws {
        Interrupt.watch()
        if let threads { lk_set_threads(Int32(clamping: threads)) }
        let jsonFile = try json.map { try ReportFile(path: $0) }
        let chartFile = try plot.map { try ReportFile(path: $0) }
        let bar = ProgressBar()
        defer { bar.clear() }
        bar.show("making random weights", 0, 0)
        let decoder = try Decoder.random(preset.preset, type: dtype.element)
        let bench = ExtractorBench(decoder: decoder, keyValueType: kvType, repetitions: repetitions)
        let head = ExtractorReport.Head(
            preset: preset.rawValue, dtype: dtype.rawValue, kvType: kvType.rawValue,
            machine: Machine.description, blocks: blocks)
        var report = ExtractorReport(head: head, language: decoder.configuration)
        report.resetsPeak = ProcessMemory.resetPeak()
        try bench.warmUp()
        bar.clear()
        try printOutput(report.header + "\n")
        var isInterrupted = false
        for count in tokens where !isInterrupted {
            let needed = bench.bytesNeeded(tokens: count)
            if let available = ProcessMemory.available, needed > available {
                let note =
                    "\(count) tokens need \(needed >> 20) MiB in addition to the weights; \(available >> 20) MiB are "
                    + "free"
                report.notes.append(note)
                printError("note: " + note)
                continue
            }
            var cases = [ExtractorCase()]
            for share in keep.values {
                let schedule = ExtractionSchedule(try extractor(share), layers: decoder.layerCount)
                cases.append(ExtractorCase(keep: Float(share), schedule: schedule))
            }
            isInterrupted = try !bench.measure(&cases, tokens: count) {
                bar.show("\(count) tokens, \($0.name)", $1, $2)
            }
            bar.clear()
            let first = report.rows.count
            if !isInterrupted { report.add(cases, tokens: count) }
            for row in report.rows[first...] { try printOutput(report.line(row) + "\n") }
        }
        try doAll(
            { try printOutput("\n" + report.footer + "\n") },
            { try jsonFile?.write(report.json.text + "\n") },
            { try chartFile?.write(report.chart.svg) })
        if isInterrupted { throw LyraError(.state, "interrupted") }
    }
}
