import LyraFormats
import LyraBase
import LyraText

/// Configuration and vocabulary of a Qwen2 language model from a GGUF file's metadata, under llama.cpp's keys.
package struct LanguageMetadata {
    let file: GGUFFile
    let architecture: String

    /// llama.cpp architectures that lyra runs as Qwen2. "qwen2vl" has M-RoPE.
    package static let architectures = ["qwen2vl", "qwen2"]

    /// Token types, with llama.cpp's numbers (`llama_token_type`).
    package enum TokenType: Int {
        case normal = 1
        case control = 3
        case userDefined = 4
        case unused = 5
    }

    /// - Throws: `LyraError.unsupported` if the file is not a Qwen2 language model.
    init(_ file: GGUFFile) throws {
        self.file = file
        guard let architecture = try file.string("general.architecture") else {
            throw LyraError(
                .unsupported,
                "\(file.path): not a model: its metadata have neither lyra.version nor general.architecture")
        }
        guard Self.architectures.contains(architecture) else {
            throw LyraError(
                .unsupported,
                "\(file.path): a model of the architecture \(shown(architecture)), which lyra does not run; lyra runs "
                    + "files from `lyra convert`, and language models of "
                    + Self.architectures.joined(separator: " and "))
        }
        self.architecture = architecture
    }

    // MARK: Reading

    /// - Parameter note: receives messages about keys without effect
    /// - Throws: `LyraError.unsupported` for a value that changes the numbers and that lyra does not compute; `.format`
    ///   and `.missing`.
    func configuration(note: (String) -> Void) throws -> LyraConfiguration {
        let vocabulary = try required(file.strings("tokenizer.ggml.tokens"), "tokenizer.ggml.tokens").count
        let heads = try integer("attention.head_count")
        let width = try integer("embedding_length")
        let epsilon = "\(architecture).attention.layer_norm_rms_epsilon"
        try checkPositions()
        try checkKeys(headDim: heads > 0 ? width / heads : 0, note: note)
        let language = DecoderConfiguration(
            hiddenSize: width, layers: try integer("block_count"), heads: heads,
            kvHeads: try file.int("\(architecture).attention.head_count_kv") ?? heads,
            intermediateSize: try integer("feed_forward_length"), vocabularySize: vocabulary,
            rmsEpsilon: Float(try required(file.double(epsilon), epsilon)),
            ropeTheta: try file.double("\(architecture).rope.freq_base") ?? Self.usualBase,
            mropeSections: try sections(), tiesEmbeddings: file.tensor("output.weight") == nil,
            contextLength: try file.int("\(architecture).context_length") ?? 32768)
        let end = try file.int("tokenizer.ggml.eos_token_id").flatMap { Int32(exactly: $0) }
        return LyraConfiguration(
            language: language, speechTower: nil, speechDownsampling: 1, normalizesSpeech: false, generator: nil,
            endTokens: end.map { [$0] } ?? [])
    }

    /// llama.cpp's default for `rope.freq_base`.
    private static let usualBase = 10_000.0

    /// Numbers of frequency pairs for time, height and width; empty for plain positions.
    private func sections() throws -> [Int] {
        guard architecture == Self.architectures[0] else { return [] }
        let key = "\(architecture).rope.dimension_sections"
        let sections = try required(file.ints(key), key)
        guard sections.dropFirst(3).allSatisfy({ $0 == 0 }) else {
            throw LyraError(.unsupported, "\(file.path): \(key) is \(sections.prefix(8)); positions have three axes")
        }
        return Array(sections.prefix(3))
    }

    /// Rejects scaled positions, which lyra does not compute. As in llama.cpp, a factor without a type means "linear".
    private func checkPositions() throws {
        let rope = "\(architecture).rope."
        let type = try file.string(rope + "scaling.type") ?? "linear"
        let factor = try file.double(rope + "scaling.factor") ?? file.double(rope + "scale_linear") ?? 1
        // For a factor, 0 means "unset", like 1.
        guard type == "none" || type == "linear" && (factor == 1 || factor == 0) else {
            throw LyraError(
                .unsupported,
                "\(file.path): rope scaling of type \(shown(type)) by \(factor) (\(rope)scaling) is not supported")
        }
    }

    func tokenizer() throws -> Tokenizer {
        let (model, kind) = (try file.string("tokenizer.ggml.model"), try file.string("tokenizer.ggml.pre"))
        guard model == "gpt2", kind == "qwen2" else {
            throw LyraError(
                .unsupported,
                "\(file.path): tokenizer.ggml.model is \(shown(model ?? "")) and tokenizer.ggml.pre is "
                    + "\(shown(kind ?? "")); lyra reads \"gpt2\" and \"qwen2\"")
        }
        let texts = try required(file.strings("tokenizer.ggml.tokens"), "tokenizer.ggml.tokens")
        let merges = try required(file.strings("tokenizer.ggml.merges"), "tokenizer.ggml.merges")
        let types = try required(file.ints("tokenizer.ggml.token_type"), "tokenizer.ggml.token_type")
        guard types.count == texts.count else {
            throw LyraError(.format, "\(file.path): \(texts.count) tokens, but \(types.count) types of tokens")
        }
        var tokens: [(text: [UInt8], id: Int)] = []
        var added: [AddedToken] = []
        for (id, (text, number)) in zip(texts, types).enumerated() {
            switch TokenType(rawValue: number) {
            case .normal: tokens.append((Array(text.utf8), id))
            case .control: added.append(AddedToken(content: Array(text.utf8), id: id))
            case .userDefined: added.append(AddedToken(content: Array(text.utf8), id: id, isSpecial: false))
            case .unused: break
            case nil:
                throw LyraError(
                    .unsupported, "\(file.path): token \(id) is of type \(number), which lyra does not know")
            }
        }
        let pairs = try merges.enumerated().map { index, merge in
            let pair = merge.utf8.split(separator: UInt8(ascii: " "))
            guard pair.count == 2 else {
                throw LyraError(.format, "\(file.path): merge \(index) is not two tokens separated by one space")
            }
            return (left: Array(pair[0]), right: Array(pair[1]))
        }
        return try Tokenizer(tokens: tokens, merges: pairs, added: added, source: file.path)
    }

    private func integer(_ name: String) throws -> Int {
        try required(file.int("\(architecture).\(name)"), "\(architecture).\(name)")
    }

    private func required<T>(_ value: T?, _ key: String) throws -> T {
        guard let value else { throw LyraError(.missing, "\(file.path): there is no \(key) in its metadata") }
        return value
    }
}
