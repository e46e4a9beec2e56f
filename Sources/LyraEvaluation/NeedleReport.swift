import Lyra
import LyraBase

/// The result for one haystack.
package struct NeedleCell {
    package enum Outcome {
        case answered(String, AnswerScore)
        /// With the error message.
        case noMemory(String)
    }

    /// Length of the haystack in seconds.
    package var length: Double
    package var depth: Double
    package var outcome: Outcome
    /// Nil if there was no answer.
    package var usage: Usage?

    package init(length: Double, depth: Double, outcome: Outcome, usage: Usage?) {
        (self.length, self.depth, self.outcome, self.usage) = (length, depth, outcome, usage)
    }

    package var score: AnswerScore? { if case .answered(_, let score) = outcome { score } else { nil } }

    package static let header = "seconds\tdepth\texact\tsimilarity\tmedia tokens\tanswer"

    package var line: String {
        let place = "\(plain(length))\t\(plain(depth))\t"
        switch outcome {
        case .answered(let text, let score):
            return place
                + "\(score.isExact ? 1 : 0)\t\(percent(score.similarity))\t\(usage?.mediaTokens ?? 0)\t\(oneLine(text))"
        case .noMemory(let reason): return place + "-\t-\t-\tout of memory: \(reason)"
        }
    }

    package var json: JSONValue {
        var members: [(String, JSONValue)] = [("seconds", .number(length)), ("depth", .number(depth))]
        switch outcome {
        case .answered(let text, let score):
            members += [
                ("exact", .number(score.isExact ? 1 : 0)), ("similarity", .number(score.similarity)),
                ("answer", .string(text)),
            ]
            if let usage {
                members += [
                    ("media_tokens", .number(Double(usage.mediaTokens))), ("encode_ms", .number(usage.timings.encode)),
                    ("prefill_ms", .number(usage.timings.prefill)), ("total_ms", .number(usage.timings.total)),
                ]
            }
        case .noMemory(let reason): members.append(("error", .string(reason)))
        }
        return .object(members)
    }
}

/// The results for all haystacks.
package struct NeedleReport {
    private let cells: [NeedleCell]
    private let lengths: [Double]
    private let depths: [Double]

    package init(cells: [NeedleCell], lengths: [Double], depths: [Double]) {
        (self.cells, self.lengths, self.depths) = (cells, lengths, depths)
    }

    /// Means over the depths of one length that have a score; nil without a score.
    private func mean(_ length: Double) -> (exact: Double, similarity: Double)? {
        let scores = cells.filter { $0.length == length }.compactMap(\.score)
        guard !scores.isEmpty else { return nil }
        let count = Double(scores.count)
        return (
            Double(scores.count(where: \.isExact)) / count, scores.reduce(0) { $0 + $1.similarity } / count
        )
    }

    package var means: String {
        lengths.compactMap { length in
            mean(length).map {
                "mean of \(plain(length)) s: \(percent($0.exact)) exact, \(percent($0.similarity)) similar"
            }
        }.joined(separator: "\n")
    }

    package func json(head: [(String, JSONValue)]) -> JSONValue {
        .object(
            head + [
                ("lengths", .array(lengths.map(JSONValue.number))), ("depths", .array(depths.map(JSONValue.number))),
                ("cells", .array(cells.map(\.json))),
                (
                    "means",
                    .array(
                        lengths.compactMap { length in
                            mean(length).map {
                                .object([
                                    ("seconds", .number(length)), ("exact", .number($0.exact)),
                                    ("similarity", .number($0.similarity)),
                                ])
                            }
                        })
                ),
            ])
    }

    package func heatMap(notes: [String]) -> HeatMap {
        HeatMap(
            title: "Needle in a haystack", notes: notes, xLabel: "length of the recording",
            yLabel: "depth of the needle", columns: lengths.map(Self.duration), rows: depths.map(HeatMap.label),
            values: depths.map { depth in
                lengths.map { length in
                    cells.first { $0.length == length && $0.depth == depth }?.score?.similarity
                }
            },
            footer: [
                ("mean similarity", lengths.map { mean($0).map { HeatMap.label($0.similarity) } ?? "–" }),
                ("exact answers", lengths.map { mean($0).map { HeatMap.label($0.exact) } ?? "–" }),
            ], scale: "similarity of the answer")
    }

    /// A duration in a suitable unit: "90 s", "7.5 min", "2.75 h".
    static func duration(_ seconds: Double) -> String {
        let (value, unit) =
            seconds < 120 ? (seconds, "s") : seconds < 7200 ? (seconds / 60, "min") : (seconds / 3600, "h")
        return plain((value * 100).rounded() / 100) + " " + unit
    }
}
