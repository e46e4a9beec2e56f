import Lyra
import LyraBase

/// The output of `generate --json`.
struct GenerateReport {
    let json: String

    init(text: String, tokens: [Int32], units: [Int32], usage: Usage, wave: WaveWriter?, load: Double, total: Double) {
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
                ("stop", .string(GenerateReport.name(usage.stop))),
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
        case .none: "none"
        case .stopped: "stopped"
        case .cancelled: "cancelled"
        case .failed: "error"
        }
    }
}
