import LyraBase
import LyraEvaluation
import LyraModel

/// The results of `bench extractor` as a table, as JSON and as a chart.
struct ExtractorReport {
    struct Head {
        var preset: String
        var dtype: String
        var kvType: String
        var machine: String
        var blocks: Int
    }

    struct Row {
        var tokens: Int
        var measured: ExtractorCase
        var theory: ExtractorTheory
        /// Shares of the baseline's prefill time and of its bytes of keys and values.
        var prefillShare: Double
        var cacheShare: Double
    }

    let head: Head
    let language: DecoderConfiguration
    private(set) var rows: [Row] = []
    /// Lengths that were left out, with reasons.
    var notes: [String] = []
    /// Whether peak memory was measured for each case separately.
    var resetsPeak = true

    init(head: Head, language: DecoderConfiguration) { (self.head, self.language) = (head, language) }

    /// - Parameter cases: the baseline, then the other cases
    mutating func add(_ cases: [ExtractorCase], tokens: Int) {
        guard let baseline = cases.first else { return }
        let text = ExtractorBench.opening + ExtractorBench.question
        for current in cases {
            let media = current.schedule?.counts(of: tokens - text, layers: language.layers)
            let perLayer = (media ?? [Int](repeating: tokens - text, count: language.layers)).map { $0 + text }
            rows.append(
                Row(
                    tokens: tokens, measured: current,
                    theory: ExtractorTheory(language, tokens: tokens, perLayer: perLayer),
                    prefillShare: current.prefillSeconds / baseline.prefillSeconds,
                    cacheShare: Double(current.cache) / Double(max(baseline.cache, 1))))
        }
    }

    // MARK: Table

    var header: String {
        """
        \(head.preset), \(head.dtype), keys and values \(head.kvType), random weights; \(head.machine); \
        n = \(head.blocks)

        | tokens | | prefill | of the baseline | in theory | decode | KV cache | of the baseline | peak memory | \
        paper: prefill | of the baseline | decode |
        |--:|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|
        """
    }

    func line(_ row: Row) -> String {
        let m = row.measured
        let paper = PublishedExtractor.figures(tokens: row.tokens, keep: m.keep)
        var cells: [String] = ["\(row.tokens)", m.name, Self.short(m.prefillSeconds) + " s"]
        cells += [Self.share(row.prefillShare), Self.share(row.theory.prefillShare)]
        cells += [Self.short(m.tokensPerSecond) + " tokens/s", Self.size(m.cache), Self.share(row.cacheShare)]
        cells.append(m.peak.map(Self.size) ?? "")
        if let paper {
            cells += [Self.short(paper.prefill) + " s", paper.share.map(Self.share) ?? ""]
            cells.append(Self.short(paper.rate) + " tokens/s")
        } else {
            cells += ["", "", ""]
        }
        return "| " + cells.joined(separator: " | ") + " |"
    }

    var footer: String {
        var lines = [
            "In theory: matrices need the mean share of tokens over the layers, attention the mean of the squares.",
            "KV cache: keys and values of the prompt, without unused memory.",
            "Paper: the 9B model on an A100 (Table 4 of arXiv 2412.09501).",
        ]
        if !resetsPeak {
            lines.append("Peak memory: the peak since the start, because the system cannot reset it.")
        }
        for (keep, row) in lastRows {
            let (linear, attention) = (Self.share(row.theory.linearShare), Self.share(row.theory.attentionShare))
            lines.append(
                "ρ = \(keep) at \(row.tokens) tokens: matrices and KV cache \(linear), attention \(attention).")
        }
        return (lines + notes.map { "Left out: " + $0 }).joined(separator: "\n")
    }

    /// For each share kept, the longest prompt.
    private var lastRows: [(keep: Float, row: Row)] {
        var found: [(keep: Float, row: Row)] = []
        for row in rows.reversed() {
            if let keep = row.measured.keep, !found.contains(where: { $0.keep == keep }) {
                found.insert((keep, row), at: 0)
            }
        }
        return found
    }

    private static func size(_ bytes: Int) -> String { short(Double(bytes) / 1e6) + " MB" }

    private static func share(_ value: Double) -> String { value.isFinite ? fixed(value, 3) : "" }

    /// Rounds to three significant digits.
    private static func short(_ value: Double) -> String {
        value >= 100 ? "\(Int(value.rounded()))" : fixed(value, value >= 10 ? 1 : value >= 1 ? 2 : 3)
    }

    private static func fixed(_ value: Double, _ decimals: Int) -> String {
        let scale = (0..<decimals).reduce(1) { power, _ in power * 10 }
        let whole = Int((value * Double(scale)).rounded())
        let digits = String(whole % scale)
        return "\(whole / scale)." + String(repeating: "0", count: decimals - digits.count) + digits
    }

    // MARK: JSON

    var json: JSONValue {
        .object([
            ("preset", .string(head.preset)), ("dtype", .string(head.dtype)), ("kv_type", .string(head.kvType)),
            ("machine", .string(head.machine)), ("blocks", .number(Double(head.blocks))),
            ("text_tokens", .number(Double(ExtractorBench.opening + ExtractorBench.question))),
            ("decode_tokens", .number(Double(ExtractorBench.decodeTokens))),
            ("peak_memory_is_of_each_case", .bool(resetsPeak)), ("results", .array(rows.map(Self.json))),
            ("left_out", .array(notes.map(JSONValue.string))),
        ])
    }

    private static func json(_ row: Row) -> JSONValue {
        let m = row.measured, paper = PublishedExtractor.figures(tokens: row.tokens, keep: m.keep)
        func number(_ value: Double?) -> JSONValue { value.map(JSONValue.number) ?? .null }
        return .object([
            ("tokens", .number(Double(row.tokens))), ("keep", number(m.keep.map { Double("\($0)") ?? Double($0) })),
            ("prefill_s", .number(m.prefillSeconds)), ("prefill_runs_s", .array(m.prefill.map(JSONValue.number))),
            ("prefill_share", .number(row.prefillShare)), ("theory_prefill_share", .number(row.theory.prefillShare)),
            ("theory_linear_share", .number(row.theory.linearShare)),
            ("theory_attention_share", .number(row.theory.attentionShare)),
            ("decode_tokens_per_s", .number(m.tokensPerSecond)),
            ("decode_runs_tokens_per_s", .array(m.decode.map(JSONValue.number))),
            ("kv_allocated_bytes", .number(Double(m.allocated))), ("kv_bytes", .number(Double(m.cache))),
            ("kv_share", .number(row.cacheShare)),
            ("peak_bytes", number(m.peak.map(Double.init))), ("paper_prefill_s", number(paper?.prefill)),
            ("paper_prefill_share", number(paper?.share)), ("paper_decode_tokens_per_s", number(paper?.rate)),
        ])
    }

    // MARK: Drawing

    /// Prefill, decoding, and keys and values over prompt length; dashed lines are the theory.
    var chart: LineChart {
        let keeps = rows.map(\.measured.keep).reduce(into: [Float?]()) { if !$0.contains($1) { $0.append($1) } }
        let lengths = rows.map(\.tokens).reduce(into: [Int]()) { if !$0.contains($1) { $0.append($1) } }
        func points(_ keep: Float?, _ value: (Row) -> Double) -> [(x: Double, y: Double)] {
            rows.filter { $0.measured.keep == keep }.map { (Double($0.tokens), value($0)) }
        }
        func inTheory(_ keep: Float?) -> [(x: Double, y: Double)] {
            points(keep) { row in
                let baseline = rows.first { $0.tokens == row.tokens && $0.measured.keep == nil }
                return row.theory.prefillShare * (baseline?.measured.prefillSeconds ?? .nan)
            }
        }
        let kept = keeps.filter { $0 != nil }
        func color(_ keep: Float?) -> String {
            LineChart.colors[(keeps.firstIndex(of: keep) ?? 0) % LineChart.colors.count]
        }
        func name(_ keep: Float?) -> String { keep.map { "ρ = \($0)" } ?? "baseline" }
        let nothing = kept.map { _ in [(x: Double, y: Double)]() }
        return LineChart(
            title: "What the extractor saves: \(head.preset), n = \(head.blocks)",
            notes: [head.machine, "\(head.dtype) weights, \(head.kvType) keys and values, random"],
            xLabel: "tokens of the prompt",
            xTicks: lengths.sorted().map { (Double($0), Self.length($0)) },
            series: keeps.map { LineChart.Series(name: name($0), color: color($0)) }
                + kept.map { LineChart.Series(name: name($0) + " in theory", color: color($0), dashed: true) },
            plots: [
                LineChart.Plot(
                    title: "prefill", unit: "s", logarithmic: true,
                    points: keeps.map { points($0, \.measured.prefillSeconds) } + kept.map(inTheory)),
                LineChart.Plot(
                    title: "decoding after it", unit: "tokens/s", logarithmic: false,
                    points: keeps.map { points($0, \.measured.tokensPerSecond) } + nothing),
                LineChart.Plot(
                    title: "keys and values", unit: "MB", logarithmic: true,
                    points: keeps.map { points($0) { Double($0.measured.cache) / 1e6 } } + nothing),
            ])
    }

    /// 2048 as "2k", 1000 unchanged.
    private static func length(_ tokens: Int) -> String { tokens % 1024 == 0 ? "\(tokens / 1024)k" : "\(tokens)" }
}
