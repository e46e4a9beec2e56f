import Lyra

/// What `generate --json` prints.
struct Report {
    let json: String

    init(text: String, tokens: [Int32], units: [Int32], usage: Usage, wave: WaveFile?, load: Double, total: Double) {
        var audio = JSONValue.null
        if let wave, wave.sampleRate > 0 {
            audio = .object([
                ("path", .name(wave.path)), ("sample_rate", .number(Double(wave.sampleRate))),
                ("seconds", .number(wave.seconds)),
            ])
        }
        let timings = usage.timings
        json =
            JSONValue.object([
                ("text", .string(text)),
                ("token_ids", .array(tokens.map { .number(Double($0)) })),
                ("units", .array(units.map { .number(Double($0)) })),
                ("adapter", .string(usage.adapter ?? "none")),
                ("stop", .string(Report.name(usage.stop))),
                (
                    "usage",
                    .object([
                        ("prompt_tokens", .number(Double(usage.promptTokens))),
                        ("media_tokens", .number(Double(usage.mediaTokens))),
                        ("generated_tokens", .number(Double(usage.generatedTokens))),
                        ("kept_per_block", .array(usage.keptPerBlock.map { .number(Double($0)) })),
                    ])
                ),
                ("audio", audio),
                (
                    "timings_ms",
                    .object([
                        ("load", .number(load * 1e3)), ("encode", .number(timings.encode)),
                        ("prefill", .number(timings.prefill)), ("first_token", .number(timings.firstToken)),
                        ("first_audio", timings.firstAudio > 0 ? .number(timings.firstAudio) : .null),
                        ("total", .number(total * 1e3)),
                    ])
                ),
            ]).text
    }

    private static func name(_ reason: StopReason) -> String {
        switch reason {
        case .endOfAnswer: "eos"
        case .length: "length"
        case .none, .stopped, .cancelled, .failed: "cancelled"
        }
    }
}

/// A JSON document to be printed, with its keys in the order given.
indirect enum JSONValue {
    case null
    case bool(Bool)
    case string(String)
    case number(Double)
    case array([JSONValue])
    case object([(String, JSONValue)])

    /// A file's name: what is not UTF-8 in it is written `\xE9`.
    static func name(_ path: String) -> JSONValue { .string(SystemPath.printable(path)) }

    var text: String {
        switch self {
        case .null: "null"
        case .bool(let value): value ? "true" : "false"
        case .string(let value): JSONValue.quoted(value)
        case .number(let value):
            !value.isFinite
                ? "null"
                : value == value.rounded() && abs(value) < 1e15 ? String(Int64(value)) : JSONValue.rounded(value)
        case .array(let values): "[" + values.map(\.text).joined(separator: ", ") + "]"
        case .object(let members):
            "{" + members.map { JSONValue.quoted($0) + ": " + $1.text }.joined(separator: ", ") + "}"
        }
    }

    /// Six decimals: enough for milliseconds and seconds.
    private static func rounded(_ value: Double) -> String { "\((value * 1e6).rounded() / 1e6)" }

    private static func quoted(_ string: String) -> String {
        var result = "\""
        for scalar in string.unicodeScalars {
            switch scalar {
            case "\"": result += "\\\""
            case "\\": result += "\\\\"
            case "\n": result += "\\n"
            case "\r": result += "\\r"
            case "\t": result += "\\t"
            case _ where scalar.value < 0x20:
                let hex = String(scalar.value, radix: 16)
                result += "\\u" + String(repeating: "0", count: 4 - hex.count) + hex
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result + "\""
    }
}
