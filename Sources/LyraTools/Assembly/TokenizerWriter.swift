import LyraBase
import LyraFormats
import LyraText

/// Writes a language model's tokenizer in the published layout: vocab.json, merges.txt, added_tokens.json and
/// tokenizer_config.json, with Lyra's special tokens.
struct TokenizerWriter {
    /// Directory of the language model.
    let source: String
    let tokenizer: Tokenizer
    /// Rows of the language model's embeddings.
    let rows: Int

    /// Lyra's special tokens that the tokenizer lacks.
    private var missing: [String] { AddedTokens.published.filter { tokenizer.id(ofSpecial: $0) == nil } }

    private func path(_ name: String) -> String { FileSystem.join(source, name) }
    private func has(_ name: String) throws -> Bool { try FileSystem.isFile(path(name)) }

    /// Writes the files.
    ///
    /// - Returns: the tokens that were added
    /// - Throws: `LyraError.unsupported` if the embeddings have no rows left for them.
    func write(into directory: OutputDirectory) throws -> [String] {
        let missing = missing, first = tokenizer.vocabularySize
        guard missing.isEmpty || first + missing.count <= rows else {
            throw LyraError(
                .unsupported,
                "\(source): the tokenizer lacks \(missing.joined(separator: ", ")), and the embeddings have \(rows) "
                    + "rows, too few for more than the tokenizer's \(first) tokens; use a Qwen2-VL")
        }
        let names = ["vocab.json", "merges.txt", "added_tokens.json", "tokenizer_config.json", "tokenizer.json"]
        let isPublished = try missing.isEmpty && has("vocab.json") && has("merges.txt")
        var copied: Set<String> = []
        for name in names where try isPublished && has(name) {
            try directory.copy(text: path(name), as: name)
            copied.insert(name)
        }
        let listing = tokenizer.listing(rows: first)
        if !isPublished {
            let normal = listing.tokens.enumerated().filter { $1.kind == .normal }
            try directory.put("vocab.json", ids(normal.map { ($1.text, $0) }))
            try directory.put("merges.txt", "#version: 0.2\n" + listing.merges.map { $0 + "\n" }.joined())
        }
        let added = added(listing, missing)
        if !copied.contains("added_tokens.json") {
            try directory.put("added_tokens.json", ids(added.map { ($0.text, $0.id) }))
        }
        if !copied.contains("tokenizer_config.json") {
            try directory.put("tokenizer_config.json", try ExactJSON.text(configuration(added)))
        }
        return missing
    }

    /// An object of token → id.
    private func ids(_ tokens: [(text: String, id: Int)]) throws -> String {
        try ExactJSON.text(.object(tokens.map { ($0.text, JSONValue.number(Double($0.id))) }))
    }

    private struct Added {
        let text: String
        let id: Int
        let isSpecial: Bool
    }

    /// All added tokens by id, those that are missing after all others.
    private func added(_ listing: VocabularyListing, _ missing: [String]) -> [Added] {
        let known = listing.tokens.enumerated().filter { $1.kind == .special || $1.kind == .added }
            .map { Added(text: $1.text, id: $0, isSpecial: $1.kind == .special) }
        let first = listing.tokens.count
        return known + missing.enumerated().map { Added(text: $1, id: first + $0, isSpecial: true) }
    }

    /// The source's tokenizer_config.json, or one like Qwen2-VL's, with all added tokens.
    private func configuration(_ added: [Added]) throws -> JSONValue {
        let name = "tokenizer_config.json"
        var members: [(String, JSONValue)] = [
            ("add_prefix_space", false), ("bos_token", .null), ("eos_token", "<|im_end|>"),
            ("pad_token", "<|endoftext|>"), ("unk_token", .null), ("errors", "replace"),
            ("split_special_tokens", false), ("tokenizer_class", "Qwen2Tokenizer"), ("model_max_length", 32_768),
            ("clean_up_tokenization_spaces", false),
        ]
        if try has(name) {
            let bytes = try MappedFile.contents(path: path(name), limit: JSONFile.limit(of: name))
            guard case .object(let own) = try NamedBytes(name: path(name), bytes: bytes).json() else {
                throw LyraError(.format, "\(path(name)): not a JSON object")
            }
            members = own.filter { $0.0 != "added_tokens_decoder" }
        }
        let tokens = added.map { token in
            (
                "\(token.id)",
                JSONValue.object([
                    ("content", .string(token.text)), ("lstrip", false), ("normalized", false), ("rstrip", false),
                    ("single_word", false), ("special", .bool(token.isSpecial)),
                ])
            )
        }
        return .object(members + [("added_tokens_decoder", .object(tokens))])
    }
}
