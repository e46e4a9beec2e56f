/// Tensor names in a GGUF file: llama.cpp's names for the language model, and names prefixed with their part for all
/// others.
///
/// ggml limits names to 63 bytes, so the common prefix that the published layout gives a part is left out.
package enum OneFileNames {
    /// Longest name in bytes that ggml reads (`GGML_MAX_NAME` less the terminating zero).
    package static let lengthLimit = 63

    /// Common prefix of a part's names; the main part has several.
    static func prefix(_ part: ModelPart) -> String {
        switch part {
        case .main: ""
        case .adapter(let index): "adapter.\(index)."
        case .adapterProjector(let index): "adapter.\(index).projector."
        case .speechTower: "speech_tower."
        case .visionTower: "vision_tower."
        case .soundTower: "sound_tower."
        case .soundProjector: "projector.sound."
        case .vocoder: "vocoder."
        }
    }

    /// The stored name of the tensor that the loader calls `name`; nil if lyra does not use the tensor.
    package static func stored(_ part: ModelPart, _ name: String) -> String? {
        switch part {
        case .main: storedMain(name)
        case .adapter: storedAdapter(name).map { prefix(part) + $0 }
        case .soundTower: exchange(name, sound.map { ($0.1, $0.0) }).map { prefix(part) + $0 }
        default: prefix(part) + name
        }
    }

    /// The loader's name of a stored tensor; nil if it does not belong to the part.
    static func loaded(_ part: ModelPart, _ name: String) -> String? {
        guard let rest = name.removing(prefix: prefix(part)) else { return nil }
        switch part {
        case .main: return loadedMain(name)
        case .adapter: return loadedAdapter(rest)
        case .soundTower: return exchange(rest, sound)
        case .adapterProjector: return "mm_speech_projector." + rest
        default: return rest
        }
    }

    /// The parts that a tensor with this stored name can belong to.
    static func parts(holding name: String) -> [ModelPart] {
        let components = name.split(separator: ".", maxSplits: 3, omittingEmptySubsequences: false)
        switch components[0] {
        case "adapter":
            guard components.count > 2, let index = number(components[1]) else { return [] }
            return components.count > 3 && components[2] == "projector" ? [.adapterProjector(index)] : [.adapter(index)]
        case "speech_tower": return [.speechTower]
        case "vision_tower": return [.visionTower]
        case "sound_tower": return [.soundTower]
        case "vocoder": return [.vocoder]
        // The checkpoint's own sound projector is stored under the same names as one that the caller gives.
        case "projector" where name.hasPrefix(prefix(.soundProjector)): return [.main, .soundProjector]
        default: return [.main]
        }
    }

    /// Whether a name spells its layer number differently from lyra and llama.cpp: `blk.03`, `blk.+3`.
    static func hasNonCanonicalLayer(_ name: String) -> Bool {
        let components = name.split(separator: ".", omittingEmptySubsequences: false)
        guard let block = components.firstIndex(of: "blk"), block == 0 || components[0] == "adapter" && block == 2,
            block + 1 < components.count
        else { return false }
        return number(components[block + 1]) == nil
    }

    /// A number in canonical spelling: digits without leading zeros.
    private static func number(_ text: Substring) -> Int? {
        guard let number = UInt16(text), String(number) == text else { return nil }
        return Int(number)
    }

    // MARK: The main part

    private static let single = [
        ("token_embd.weight", "model.embed_tokens.weight"), ("output_norm.weight", "model.norm.weight"),
        ("output.weight", "lm_head.weight"),
    ]

    private static let groups = [
        ("generator.", "speech_generator."), ("projector.speech.", "model.mm_speech_projector."),
        ("projector.sound.", "model.mm_audio_projector."),
    ]

    /// llama.cpp's names of a layer's modules, with Qwen2's names.
    private static let modules = [
        ("attn_norm", "input_layernorm"), ("attn_q", "self_attn.q_proj"), ("attn_k", "self_attn.k_proj"),
        ("attn_v", "self_attn.v_proj"), ("attn_output", "self_attn.o_proj"),
        ("ffn_norm", "post_attention_layernorm"), ("ffn_gate", "mlp.gate_proj"), ("ffn_up", "mlp.up_proj"),
        ("ffn_down", "mlp.down_proj"),
    ]

    private static func storedMain(_ name: String) -> String? {
        if let pair = single.first(where: { $0.1 == name }) { return pair.0 }
        if let name = exchange(name, groups.map { ($0.1, $0.0) }) { return name }
        guard let rest = name.removing(prefix: "model.layers.") else { return nil }
        return storedLayer(rest, suffixes: [".weight", ".bias"])
    }

    private static func loadedMain(_ name: String) -> String? {
        if let pair = single.first(where: { $0.0 == name }) { return pair.1 }
        if let name = exchange(name, groups) { return name }
        return loadedLayer(name, suffixes: [".weight", ".bias"]).map { "model.layers." + $0 }
    }

    // MARK: The sound tower

    private static let sound = [
        ("stem.", "modality_preprocessors.audio."), ("trunk.", "modality_trunks.audio."),
        ("head.", "modality_heads.audio."), ("scale.", "modality_postprocessors.audio."),
    ]

    /// Replaces the first matching prefix with its counterpart.
    private static func exchange(_ name: String, _ pairs: [(String, String)]) -> String? {
        for (old, new) in pairs { if let rest = name.removing(prefix: old) { return new + rest } }
        return nil
    }

    // MARK: Adapters

    private static let peft = "base_model.model.model.layers."
    private static let pairs = [(".weight.lora_a", ".lora_A.weight"), (".weight.lora_b", ".lora_B.weight")]

    private static func storedAdapter(_ name: String) -> String? {
        for (file, loader) in pairs {
            if let rest = name.removing(prefix: peft)?.removing(suffix: loader) {
                return storedLayer(rest, suffixes: [""]).map { $0 + file }
            }
        }
        // What the adapter replaces as a whole.
        return name.removing(prefix: ParameterNames.peft).flatMap { storedMain($0) }
    }

    private static func loadedAdapter(_ name: String) -> String? {
        for (file, loader) in pairs {
            if let rest = name.removing(suffix: file) {
                return loadedLayer(rest, suffixes: [""]).map { peft + $0 + loader }
            }
        }
        return loadedMain(name).map { ParameterNames.peft + $0 }
    }

    /// `3.self_attn.q_proj.weight` → `blk.3.attn_q.weight`
    private static func storedLayer(_ name: String, suffixes: [String]) -> String? {
        let components = name.split(separator: ".", maxSplits: 1)
        guard components.count == 2, let layer = number(components[0]) else { return nil }
        for suffix in suffixes {
            guard let module = String(components[1]).removing(suffix: suffix) else { continue }
            if let pair = modules.first(where: { $0.1 == module }) { return "blk.\(layer).\(pair.0)\(suffix)" }
        }
        return nil
    }

    /// `blk.3.attn_q.weight` → `3.self_attn.q_proj.weight`
    private static func loadedLayer(_ name: String, suffixes: [String]) -> String? {
        guard let components = name.removing(prefix: "blk.")?.split(separator: ".", maxSplits: 1),
            components.count == 2, let layer = number(components[0])
        else { return nil }
        for suffix in suffixes {
            guard let module = String(components[1]).removing(suffix: suffix) else { continue }
            if let pair = modules.first(where: { $0.0 == module }) { return "\(layer).\(pair.1)\(suffix)" }
        }
        return nil
    }

    /// The layer index and module ("attn_v") of a language model tensor, from its stored name.
    package static func layer(_ stored: String) -> (index: Int, module: String)? {
        let components = stored.split(separator: ".")
        guard components.count == 4, components[0] == "blk", let index = number(components[1]) else { return nil }
        return (index, String(components[2]))
    }
}

extension String {
    fileprivate func removing(prefix: String) -> String? {
        hasPrefix(prefix) ? String(dropFirst(prefix.count)) : nil
    }

    fileprivate func removing(suffix: String) -> String? {
        hasSuffix(suffix) ? String(dropLast(suffix.count)) : nil
    }
}
