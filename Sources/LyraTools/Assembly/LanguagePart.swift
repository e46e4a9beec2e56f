import LyraBase
import LyraFormats
import LyraModel
import LyraTensor

/// The language model that a checkpoint is assembled around, opened and checked.
struct LanguagePart {
    let directory: String
    let configuration: DecoderConfiguration
    /// Whether a vision tower is inside.
    let sees: Bool
    let tokenizerWriter: TokenizerWriter
    /// config.json
    private let json: JSONValue
    private let endTokens: [Int32]

    /// - Throws: the errors of `Checkpoint.open`; `LyraError.argument` for what is not the directory of a plain
    ///   language model.
    init(_ directory: String, check: @escaping () throws -> Void) throws {
        self.directory = directory
        try FileSystem.checkPath(directory)
        guard !BuiltInModel.isName(directory), try !FileSystem.isFile(directory) else {
            throw LyraError(.argument, "\(directory): a file; the language model's directory is needed")
        }
        var options = CheckpointOptions()
        options.progress = { _, _ in try check() }
        let checkpoint = try Checkpoint.open(directory, options: options)
        let path = FileSystem.join(directory, "config.json")
        let json = try NamedBytes(
            name: path, bytes: MappedFile.contents(path: path, limit: JSONFile.limit(of: path))
        ).json()
        let towers = ["mm_speech_tower", "mm_vision_tower", "mm_audio_tower", "speech_generator_type"]
        if let key = towers.first(where: { json[$0] != nil }) {
            throw LyraError(
                .argument,
                "\(directory): a Lyra checkpoint already (its config.json has \(key)); a plain Qwen2-VL is needed")
        }
        self.json = json
        configuration = checkpoint.configuration.language
        endTokens = checkpoint.configuration.endTokens
        sees = checkpoint.visionNetworks.isPresent
        tokenizerWriter = TokenizerWriter(
            source: directory, tokenizer: checkpoint.tokenizer, rows: checkpoint.configuration.language.vocabularySize)
    }

    func path(_ name: String) -> String { FileSystem.join(directory, name) }

    /// A file with tensors.
    struct TensorFile {
        let path: String
        let tensors: [(name: String, bytes: Int, isVision: Bool)]
    }

    /// The files with the tensors that the checkpoint's index lists in each.
    func tensorFiles() throws -> [TensorFile] {
        let shards = try ShardedSafetensors(directory: directory)
        return shards.shards.map { shard in
            let names = shard.names.filter { shards.tensor($0)?.source == shard.file.path }
            return TensorFile(
                path: shard.file.path,
                tensors: names.map { name in
                    let isVision = ParameterNames.published(name).hasPrefix(ParameterNames.vision)
                    return (name, shard.tensor(name)?.byteCount ?? 0, isVision)
                })
        }
    }

    /// `vision_config`, as a vision tower's own config.json has it.
    func visionConfiguration() -> JSONValue { json["vision_config"] ?? .object([]) }

    /// A key of config.json that changes no number, at the top level or under `text_config`.
    func key(_ names: String...) -> JSONValue? {
        names.lazy.compactMap { json[$0] ?? json["text_config"]?[$0] }.first
    }

    /// Tokens that end an answer: config.json's, or else the chat template's.
    var endToken: JSONValue? {
        let ids = endTokens.map { JSONValue.number(Double($0)) }
        return ids.count == 1 ? ids[0] : ids.isEmpty ? nil : .array(ids)
    }
}
