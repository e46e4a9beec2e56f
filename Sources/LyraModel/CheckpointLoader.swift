import LyraFormats
import LyraMedia
import LyraTensor
import LyraText

/// How to open a checkpoint directory.
public struct CheckpointOptions {
    /// Where towers and vocoder are looked for after the places that the checkpoint implies.
    public var towers: String?
    /// The vocoder's file or its directory.
    public var vocoder: String?
    /// A file with the sound projector: no published checkpoint carries one.
    public var soundProjector: String?
    /// How exactly to multiply; nil is exact, and fast for a language model whose weights are in blocks, which round anyway.
    public var precision: Precision?
    /// Told what a person may want to know: parts that are absent, values that were derived.
    public var note: (String) -> Void = { _ in }
    /// Told how many parts of how many are read; throws to give up.
    public var progress: (_ done: Int, _ total: Int) throws -> Void = { _, _ in }

    public init() {}
}

extension Checkpoint {
    /// Opens the published layout: config.json, safetensors, vocabulary, adapters, and the towers it names.
    ///
    /// Weights are mapped, not copied.
    /// - Throws: `LyraError` that names the file and what is wrong with it.
    public static func open(_ directory: String, options: CheckpointOptions = CheckpointOptions()) throws -> Checkpoint
    {
        try CheckpointLoader(directory, options).load()
    }
}

/// Reads one checkpoint directory, part by part.
final class CheckpointLoader {
    let directory: String
    let options: CheckpointOptions
    let finder: TowerFinder
    var inventory: [Checkpoint.PartSize] = []
    /// Of all parts, once the main tensors are there.
    private(set) var precision = Precision.exact
    var done = 0
    var total = 0

    init(_ directory: String, _ options: CheckpointOptions) {
        self.directory = directory
        self.options = options
        finder = TowerFinder(checkpoint: directory, extra: options.towers)
    }

    func load() throws -> Checkpoint {
        guard FileSystem.isDirectory(directory) else {
            throw LyraError(
                .missing, "\(directory): there is no such directory; a checkpoint is a directory with a config.json")
        }
        let configuration = try readConfiguration()
        total = configuration.language.layers + (configuration.generator?.layers ?? 0) + 6
        let main = try mainTable()
        let adapters = try findAdapters()
        var decoder = try Decoder(main, configuration.language, progress: advance)
        for adapter in adapters { try decoder.addAdapter(adapter.table, adapter.configuration) }
        let speechInput = try openSpeechInput(main, configuration, adapters)
        try advance()
        let visionInput = try openVisionInput(main, configuration)
        try advance()
        let soundInput = try openSoundInput(main, configuration)
        try advance()
        let generator = try configuration.generator.map {
            try SpeechGenerator(
                main.under("speech_generator."), $0, language: configuration.language, progress: advance)
        }
        let vocoder = try openVocoder(configuration)
        try advance()
        let defaults = try readGenerationDefaults()
        let tokenizer = try readTokenizer(configuration)
        try advance()
        return Checkpoint(
            configuration: configuration, decoder: decoder, tokenizer: tokenizer, generationDefaults: defaults,
            adapters: adapters.map(\.name), speechInput: speechInput, visionInput: visionInput,
            soundInput: soundInput, generator: generator, vocoder: vocoder,
            inventory: inventory)
    }

    private func advance() throws {
        done += 1
        try options.progress(min(done, total), total)
    }

    func path(_ name: String) -> String { FileSystem.join(directory, name) }

    private func readConfiguration() throws -> LyraConfiguration {
        let configuration = try JSONFile.decode(LyraConfiguration.self, path: path("config.json"))
        try configuration.validate(path("config.json"))
        return configuration
    }

    private func readGenerationDefaults() throws -> GenerationDefaults {
        let file = path("generation_config.json")
        guard FileSystem.isFile(file) else { return GenerationDefaults() }
        let defaults = try JSONFile.decode(GenerationDefaults.self, path: file)
        try defaults.validate(file)
        return defaults
    }

    /// vocab.json, merges.txt and what was added to them; or tokenizer.json, where those are not there.
    private func readTokenizer(_ configuration: LyraConfiguration) throws -> Tokenizer {
        func bytes(_ name: String) throws -> NamedBytes {
            NamedBytes(name: path(name), bytes: try MappedFile.contents(path: path(name), limit: 64 << 20))
        }
        func optional(_ name: String) throws -> NamedBytes? { FileSystem.isFile(path(name)) ? try bytes(name) : nil }
        let tokenizer: Tokenizer
        if !FileSystem.isFile(path("vocab.json")), let whole = try optional("tokenizer.json") {
            tokenizer = try Tokenizer(tokenizerJSON: whole)
        } else {
            tokenizer = try Tokenizer(
                vocabJSON: bytes("vocab.json"), mergesText: bytes("merges.txt"),
                addedTokensJSON: optional("added_tokens.json"), tokenizerConfigJSON: optional("tokenizer_config.json"))
        }
        let rows = configuration.language.vocabularySize
        guard tokenizer.vocabularySize <= rows else {
            throw LyraError(
                .format,
                "\(directory): the tokenizer has \(tokenizer.vocabularySize) tokens, the model embeds only \(rows)")
        }
        return tokenizer
    }

    private func mainTable() throws -> TensorTable {
        let tensors = try ShardedSafetensors(directory: directory).tensors
        let groups = Dictionary(grouping: tensors, by: { Self.partName($0.key) }).sorted { $0.key < $1.key }
        for (name, members) in groups { record(name, directory, members.map(\.value)) }
        precision = options.precision ?? (tensors.values.contains { $0.type.blockElements > 1 } ? .fast : .exact)
        return table(directory, tensors)
    }

    /// Tensors of one file or directory, to be multiplied as the options say.
    func table(_ origin: String, _ tensors: [String: StoredTensor]) -> TensorTable {
        TensorTable(origin: origin, tensors: tensors, precision: precision)
    }

    /// The part that a tensor of the main checkpoint belongs to, for the inventory.
    private static func partName(_ tensor: String) -> String {
        let parts = [
            ("speech_generator.", "speech generator"), ("model.vision_tower.", "vision tower"),
            ("model.speech_tower.", "speech tower"), ("model.mm_speech_projector.", "speech projector"),
            ("model.mm_audio_projector.", "sound projector"),
        ]
        return parts.first { tensor.hasPrefix($0.0) }?.1 ?? "language model"
    }

    func record(_ name: String, _ source: String, _ tensors: [StoredTensor]) {
        let byType = Dictionary(grouping: tensors, by: \.type).map { ($0.key, $0.value.count) }
        inventory.append(
            Checkpoint.PartSize(
                name: name, source: source, parameters: tensors.reduce(0) { $0 + $1.count },
                bytes: tensors.reduce(0) { $0 + $1.bytes.count }, types: byType.sorted { $0.1 > $1.1 }))
    }

    // MARK: Adapters

    struct Adapter {
        var name: String
        var table: TensorTable
        var configuration: AdapterConfiguration
        /// The speech projector trained with it, if it brought one.
        var projector: TensorTable?
    }

    /// Every subdirectory with an adapter_config.json.
    private func findAdapters() throws -> [Adapter] {
        try FileSystem.entries(of: directory).compactMap { entry in
            let folder = path(entry), file = FileSystem.join(folder, "adapter_config.json")
            guard FileSystem.isFile(file) else { return nil }
            let configuration = try JSONFile.decode(AdapterConfiguration.self, path: file)
            try configuration.validate(file)
            let name = Checkpoint.adapterName(directory: entry)
            let tensors = try ShardedSafetensors(directory: folder, stem: "adapter_model").tensors
            record("adapter \(name)", folder, Array(tensors.values))
            return Adapter(
                name: name, table: table(folder, tensors), configuration: configuration,
                projector: try adapterProjector(folder, name))
        }
    }

    private func adapterProjector(_ folder: String, _ name: String) throws -> TensorTable? {
        let file = FileSystem.join(folder, "non_lora_trainables.bin")
        guard FileSystem.isFile(file) else { return nil }
        let tensors = try TorchFile(path: file).tensors()
        record("speech projector of \(name)", file, Array(tensors.values))
        let prefixes = ["model.model.", "base_model.model.model.", "model.", ""].map { $0 + "mm_speech_projector." }
        return table(file, tensors).subtable(under: prefixes, holding: "linear1.weight")
    }

    /// A part that is not there; a person is told so.
    func absent<Network>(_ reason: String) -> Checkpoint.Part<Network> {
        let error = LyraError(.missing, "\(directory): \(reason)")
        options.note(error.message)
        return .absent(error)
    }
}
