import LyraFormats
import LyraBase

/// Checks of configuration files that involve several keys.
enum ConfigurationChecks {
    /// Checks a checkpoint's config.json: its keys, the head width, and sliding-window attention.
    ///
    /// - Throws: `LyraError.unsupported`, naming file and key, for a value that changes the numbers and that lyra does
    ///   not compute.
    static func main(_ value: JSONValue, _ source: String, note: (String) -> Void) throws {
        try KnownKeys.main.check(value, source, note: note)
        func find(_ key: String) -> JSONValue? { value["text_config"]?[key] ?? value[key] }
        func refuse(_ message: String) -> LyraError { LyraError(.unsupported, "\(source): \(message)") }

        func number(_ key: String) throws -> Int? {
            guard let value = find(key) else { return nil }
            guard let number = value.number.flatMap({ Int(exactly: $0) }) else {
                throw LyraError(.format, "\(source): \(key) is not a whole number")
            }
            return number
        }

        if let stated = try number("head_dim"), let width = try number("hidden_size"),
            let heads = try number("num_attention_heads"), heads > 0
        {
            if stated.checkedMultiplying(by: heads) != width {
                throw refuse(
                    "head_dim is \(stated), but hidden_size / num_attention_heads is \(width / heads); lyra does not "
                        + "compute other head widths")
            }
        }
        let stated = find("use_sliding_window")
        guard stated == nil || stated?.bool != nil else {
            throw LyraError(.format, "\(source): use_sliding_window is neither true nor false")
        }
        let isWindowed = try stated == true && number("sliding_window") != nil
        // Layers from this index on use a sliding window; the default is Qwen2's.
        let first = try number("max_window_layers") ?? 28
        if isWindowed, let layers = try number("num_hidden_layers"), first < layers {
            throw refuse(
                "use_sliding_window with max_window_layers \(first) of \(layers) layers: lyra does not compute sliding "
                    + "windows"
            )
        }
        guard find("layer_types") == nil || find("layer_types")?.elements != nil else {
            throw LyraError(.format, "\(source): layer_types is not a list")
        }
        for type in find("layer_types")?.elements ?? [] where type != "full_attention" {
            guard type == "sliding_attention", !isWindowed else {
                throw refuse("layer_types has \(shown(type.string ?? "?")); lyra computes full_attention")
            }
        }
    }

    /// Checks the config.json of a vision tower or of a complete Qwen2-VL, of which only the tower's keys matter.
    static func vision(_ value: JSONValue, _ source: String, note: (String) -> Void) throws {
        guard let tower = value["vision_config"] else { return try KnownKeys.vision.check(value, source, note: note) }
        try KnownKeys.vision.check(tower, source, path: "vision_config.", note: note)
        guard value["quantization_config"] == nil else {
            let method = value["quantization_config"]?["quant_method"]?.string ?? "?"
            throw LyraError(
                .unsupported, "\(source): quantization_config is \(shown(method)), which lyra does not compute")
        }
    }
}
