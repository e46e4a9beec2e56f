import LyraFormats
import LyraBase

/// Rejects keys and tensors of llama.cpp files that change the numbers of a Qwen2 and that lyra does not compute.
extension LanguageMetadata {
    /// - Throws: `LyraError.unsupported`, naming the key or tensor.
    func checkKeys(headDim: Int, note: (String) -> Void) throws {
        try checkNumbers(headDim: headDim)
        if let type = try file.string("general.type"), type != "model" {
            throw refusal("general.type is \(shown(type)), not a model")
        }
        if try file.bool("tokenizer.ggml.add_bos_token") == true {
            note("\(file.path): tokenizer.ggml.add_bos_token is true, which has no effect in lyra")
        }
        try checkTensors()
    }

    private func checkNumbers(headDim: Int) throws {
        for (name, allowed) in [
            ("rope.dimension_count", Double(headDim)), ("attention.key_length", Double(headDim)),
            ("attention.value_length", Double(headDim)), ("expert_count", 0), ("expert_used_count", 0),
            ("logit_scale", 1), ("embedding_scale", 1), ("residual_scale", 1), ("attention.scale", 0),
            ("attention.clamp_kqv", 0), ("attention.max_alibi_bias", 0), ("attn_logit_softcapping", 0),
            ("final_logit_softcapping", 0), ("rope.scaling.attn_factor", 1), ("rope.scaling.yarn_log_multiplier", 0),
        ] {
            let key = "\(architecture).\(name)"
            guard let value = file.metadata[key] else { continue }
            let number = value.int.map { Double($0) } ?? value.double
            guard number == allowed else {
                throw refusal("\(key) is \(number.map { "\($0)" } ?? "no number"); lyra computes \(allowed)")
            }
        }
        for (name, allowed) in [("attention.causal", true), ("use_parallel_residual", false)] {
            let key = "\(architecture).\(name)"
            if let value = try file.bool(key), value != allowed {
                throw refusal("\(key) is \(value), which lyra does not compute")
            }
        }
    }

    /// Rejects frequency factors of the positions, and biases that Qwen2 lacks.
    private func checkTensors() throws {
        for (name, tensor) in file.tensors {
            let last = name.split(separator: ".").suffix(2).joined(separator: ".")
            switch last {
            case "rope_freqs.weight":
                let factors = try tensor.values()
                guard (0..<factors.count).allSatisfy({ factors[$0] == 1 }) else {
                    throw refusal("tensor \(shown(name)) scales positions, which lyra does not compute")
                }
            case "rope_factors_long.weight", "rope_factors_short.weight", "output.bias", "attn_q_norm.weight",
                "attn_k_norm.weight", "attn_output.bias", "ffn_gate.bias", "ffn_up.bias", "ffn_down.bias":
                throw refusal("tensor \(shown(name)) belongs to a network that lyra does not compute")
            default: break
            }
        }
    }

    private func refusal(_ message: String) -> LyraError { LyraError(.unsupported, "\(file.path): \(message)") }
}
