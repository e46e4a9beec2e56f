import ArgumentParser
import Glibc
import Lyra
import LyraModel
import LyraBase

struct InspectCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "inspect", abstract: "Lists a checkpoint's parts and what is missing.")

    @Argument(
        help: ArgumentHelp("The checkpoint's directory, or a one-file model\(DefaultModel.help).", valueName: "model"))
    var givenModel: String?

    private var model: String { givenModel ?? DefaultModel.name }

    @OptionGroup var parts: PartArguments

    @Flag(help: "Print one JSON object instead of the table.")
    var json = false

    func validate() throws {
        if givenModel == nil { try DefaultModel.validate(missing: "<model>") }
    }

    func run() throws {
        if givenModel == nil { DefaultModel.announce(missing: "model") }
        let checkpoint = try Checkpoint.open(model, options: parts.checkpointOptions)
        try printOutput((json ? report(checkpoint).text : table(checkpoint)) + "\n")
    }

    /// Why each missing part is missing.
    private func missing(_ checkpoint: Checkpoint) -> [String] {
        var reasons: [String] = []
        if case .absent(let reason) = checkpoint.speechNetworks { reasons.append(reason.message) }
        if case .absent(let reason) = checkpoint.visionNetworks { reasons.append(reason.message) }
        if case .absent(let reason) = checkpoint.soundNetworks { reasons.append(reason.message) }
        if case .absent(let reason) = checkpoint.vocoder { reasons.append(reason.message) }
        if checkpoint.generator == nil {
            reasons.append("there is no speech generator, which spoken answers need")
        }
        // Without the networks of speech, no adapter is ever chosen.
        guard checkpoint.speechNetworks.isPresent else { return reasons }
        guard !checkpoint.adapters.isEmpty else {
            return reasons + ["there are no adapters: speech is encoded, and the base model answers"]
        }
        for name in ["speech", "long_speech"] where checkpoint.adapterIndex(name) == nil {
            reasons.append("there is no adapter \(name)_lora, which automatic choice needs for speech")
        }
        return reasons
    }

    private func facts(_ checkpoint: Checkpoint) -> [(String, JSONValue)] {
        let language = checkpoint.configuration.language
        var facts: [(String, JSONValue)] = [
            ("layers", .number(Double(language.layers))), ("hidden_size", .number(Double(language.hiddenSize))),
            ("heads", .number(Double(language.heads))), ("kv_heads", .number(Double(language.kvHeads))),
            ("vocabulary_size", .number(Double(language.vocabularySize))),
            ("context_length", .number(Double(language.contextLength))),
        ]
        if case .present(let speech) = checkpoint.speechNetworks {
            facts.append(("speech_window_seconds", .number(Double(speech.windowSamples) / Double(speech.sampleRate))))
            facts.append(("speech_window_tokens", .number(Double(speech.windowTokens))))
        }
        if case .present(let vision) = checkpoint.visionNetworks {
            let tower = vision.encoder.configuration
            facts.append(("vision_token_pixels", .number(Double(tower.patch * tower.merge))))
        }
        if case .present(let vocoder) = checkpoint.vocoder {
            facts.append(("audio_sample_rate", .number(Double(vocoder.sampleRate))))
            facts.append(("audio_lookahead_samples", .number(Double(vocoder.lookaheadSamples))))
        }
        return facts
    }

    private func report(_ checkpoint: Checkpoint) -> JSONValue {
        .object([
            ("model", .name(model)),
            ("facts", .object(facts(checkpoint))),
            (
                "parts",
                .array(
                    checkpoint.inventory.map { part in
                        .object([
                            ("name", .string(part.name)), ("source", .name(part.source)),
                            ("parameters", .number(Double(part.parameters))), ("bytes", .number(Double(part.bytes))),
                            ("types", .object(part.types.map { ($0.type.rawValue, .number(Double($0.tensors))) })),
                        ])
                    })
            ),
            ("adapters", .array(checkpoint.adapters.map { .name($0) })),
            ("missing", .array(missing(checkpoint).map { .string($0) })),
        ])
    }

    private func table(_ checkpoint: Checkpoint) -> String {
        var lines = facts(checkpoint).map { padded($0.0, 26) + $0.1.text }
        lines += ["", padded("part", 34) + padded("parameters", 14) + padded("MB", 10) + "types, from"]
        for part in checkpoint.inventory {
            let types = part.types.map { "\($0.type.rawValue) × \($0.tensors)" }.joined(separator: ", ")
            lines.append(
                padded(plain(part.name), 34) + padded("\(part.parameters)", 14) + padded(megabytes(part.bytes), 10)
                    + types + ", " + SystemPath.printable(part.source))
        }
        lines += [
            "",
            "adapters: "
                + (checkpoint.adapters.isEmpty ? "none" : checkpoint.adapters.map(plain).joined(separator: ", ")),
        ]
        let missing = missing(checkpoint)
        lines += missing.isEmpty ? ["nothing is missing"] : missing.map { "missing: " + $0 }
        return lines.joined(separator: "\n")
    }
}

/// A name from a file for the terminal: unchanged, unless it is long or contains control characters.
private func plain(_ name: String) -> String {
    let name = SystemPath.printable(name)
    let isPlain = name.unicodeScalars.allSatisfy { $0.properties.generalCategory != .control }
    return isPlain && name.unicodeScalars.count <= 120 ? name : shown(name)
}

/// Megabytes (10^6 bytes) with at most two decimals.
func megabytes(_ bytes: Int) -> String { "\(Double(bytes / 10_000) / 100)" }

/// `text` padded with spaces to `width` characters, with at least one space.
func padded(_ text: String, _ width: Int) -> String {
    text + String(repeating: " ", count: max(width - text.count, 1))
}
