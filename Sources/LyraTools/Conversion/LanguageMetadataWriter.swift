import LyraFormats
import LyraModel
import LyraText

/// The configuration and vocabulary of a language model as GGUF metadata, under llama.cpp's keys.
enum LanguageMetadataWriter {
    static func entries(
        _ configuration: LyraConfiguration, _ tokenizer: Tokenizer, end: Int32?
    ) -> [(key: String, value: GGUFValue)] {
        let language = configuration.language, sections = language.mropeSections
        let name = sections.isEmpty ? LanguageMetadata.architectures[1] : LanguageMetadata.architectures[0]
        func number(_ value: Int) -> GGUFValue { .uint32(UInt32(clamping: value)) }
        var entries: [(key: String, value: GGUFValue)] = [
            ("general.architecture", .string(name)), ("general.type", .string("model")),
            ("\(name).block_count", number(language.layers)),
            ("\(name).context_length", number(language.contextLength)),
            ("\(name).embedding_length", number(language.hiddenSize)),
            ("\(name).feed_forward_length", number(language.intermediateSize)),
            ("\(name).attention.head_count", number(language.heads)),
            ("\(name).attention.head_count_kv", number(language.kvHeads)),
            ("\(name).attention.layer_norm_rms_epsilon", .float32(language.rmsEpsilon)),
            ("\(name).rope.freq_base", .float32(Float(language.ropeTheta))),
        ]
        if !sections.isEmpty {
            let four = (sections + [0]).map { Int32(clamping: $0) }
            entries.append(("\(name).rope.dimension_sections", .int32s(four)))
        }
        return entries + vocabulary(tokenizer, rows: language.vocabularySize, end: end)
    }

    private static func vocabulary(
        _ tokenizer: Tokenizer, rows: Int, end: Int32?
    ) -> [(key: String, value: GGUFValue)] {
        let listing = tokenizer.listing(rows: rows)
        let types = listing.tokens.map { token in
            let type: LanguageMetadata.TokenType =
                switch token.kind {
                case .normal: .normal
                case .special: .control
                case .added: .userDefined
                case .unused: .unused
                }
            return Int32(type.rawValue)
        }
        var entries: [(key: String, value: GGUFValue)] = [
            ("tokenizer.ggml.model", .string("gpt2")), ("tokenizer.ggml.pre", .string("qwen2")),
            ("tokenizer.ggml.tokens", .strings(listing.tokens.map(\.text))),
            ("tokenizer.ggml.token_type", .int32s(types)), ("tokenizer.ggml.merges", .strings(listing.merges)),
            ("tokenizer.ggml.add_bos_token", .bool(false)),
        ]
        let padding = tokenizer.id(ofSpecial: "<|endoftext|>")
        let ids = [
            ("eos", end ?? tokenizer.id(ofSpecial: "<|im_end|>")), ("bos", padding), ("padding", padding),
        ]
        for case (let name, let id?) in ids {
            entries.append(("tokenizer.ggml.\(name)_token_id", .uint32(UInt32(clamping: id))))
        }
        return entries
    }
}
