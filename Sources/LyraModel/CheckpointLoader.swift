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
private final class CheckpointLoader {
    let directory: String
    let options: CheckpointOptions
    let finder: TowerFinder
    var inventory: [Checkpoint.PartSize] = []
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
        total = configuration.language.layers + (configuration.generator?.layers ?? 0) + 4
        let main = try mainTable()
        let adapters = try findAdapters()
        var decoder = try Decoder(main, configuration.language, progress: advance)
        for adapter in adapters { try decoder.addAdapter(adapter.table, adapter.configuration) }
        let speechInput = try openSpeechInput(main, configuration, adapters)
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
            adapters: adapters.map(\.name), speechInput: speechInput, generator: generator, vocoder: vocoder,
            inventory: inventory)
    }

    private func advance() throws {
        done += 1
        try options.progress(min(done, total), total)
    }

    private func path(_ name: String) -> String { FileSystem.join(directory, name) }

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
        return TensorTable(origin: directory, tensors: tensors)
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

    private func record(_ name: String, _ source: String, _ tensors: [StoredTensor]) {
        let byType = Dictionary(grouping: tensors, by: \.type).map { ($0.key, $0.value.count) }
        inventory.append(
            Checkpoint.PartSize(
                name: name, source: source, parameters: tensors.reduce(0) { $0 + $1.count },
                bytes: tensors.reduce(0) { $0 + $1.bytes.count }, types: byType.sorted { $0.1 > $1.1 }))
    }

    // MARK: Adapters

    private struct Adapter {
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
                name: name, table: TensorTable(origin: folder, tensors: tensors), configuration: configuration,
                projector: try adapterProjector(folder, name))
        }
    }

    private func adapterProjector(_ folder: String, _ name: String) throws -> TensorTable? {
        let file = FileSystem.join(folder, "non_lora_trainables.bin")
        guard FileSystem.isFile(file) else { return nil }
        let tensors = try TorchFile(path: file).tensors()
        record("speech projector of \(name)", file, Array(tensors.values))
        let prefixes = ["model.model.", "base_model.model.model.", "model.", ""].map { $0 + "mm_speech_projector." }
        return TensorTable(origin: file, tensors: tensors).subtable(under: prefixes, holding: "linear1.weight")
    }

    // MARK: Speech in

    private func openSpeechInput(
        _ main: TensorTable, _ configuration: LyraConfiguration, _ adapters: [Adapter]
    ) throws -> Checkpoint.Part<SpeechInput> {
        guard let name = configuration.speechTower else {
            return .absent(
                LyraError(.missing, "\(directory): this model does not hear: config.json has no mm_speech_tower"))
        }
        let folder = finder.directory(name)
        let inside = main.subtable(under: ["model.speech_tower.speech_tower."], holding: "conv1.weight")
        let outside = try inside == nil ? folder.map { try whisperTable($0) } : nil
        guard let tower = inside ?? outside else {
            return absent(
                "the speech tower \(name) is neither in the checkpoint nor at "
                    + finder.candidates(name).joined(separator: ", ") + "; pass the directory that holds the towers")
        }
        let whisper: WhisperConfiguration, features: MelConfiguration
        do {
            (whisper, features) = try towerConfigurations(folder, tower)
        } catch let error as LyraError where folder == nil {
            return absent(
                "\(error.message): \(name) was looked for at " + finder.candidates(name).joined(separator: ", "))
        }
        let encoder = try WhisperEncoder(tower, whisper, progress: {})
        let projector = try SpeechProjector(
            main.under("model.mm_speech_projector."), width: whisper.width, configuration: configuration)
        let own = try adapters.map {
            try $0.projector.map { try SpeechProjector($0, width: whisper.width, configuration: configuration) }
        }
        return .present(
            SpeechInput(
                mel: LogMelSpectrogram(features), encoder: encoder, projector: projector,
                adapterProjectors: own, downsampling: configuration.speechDownsampling))
    }

    private func absent<Network>(_ reason: String) -> Checkpoint.Part<Network> {
        let error = LyraError(.missing, "\(directory): \(reason)")
        options.note(error.message)
        return .absent(error)
    }

    /// The encoder's tensors of a Whisper directory; its decoder is left out.
    private func whisperTable(_ folder: String) throws -> TensorTable {
        let table = TensorTable(origin: folder, tensors: try ShardedSafetensors(directory: folder).tensors)
        guard let encoder = table.subtable(under: ["encoder.", "model.encoder.", ""], holding: "conv1.weight") else {
            throw LyraError(.format, "\(folder): there is no tensor encoder.conv1.weight; is it a Whisper model?")
        }
        record("speech tower", folder, encoder.all)
        return encoder
    }

    /// Read from the tower's directory; where that is not there, derived from the shapes of the tensors.
    private func towerConfigurations(
        _ folder: String?, _ tower: TensorTable
    ) throws -> (WhisperConfiguration, MelConfiguration) {
        if let folder {
            let file = FileSystem.join(folder, "config.json")
            let whisper = try JSONFile.decode(WhisperConfiguration.self, path: file)
            try whisper.validate(file)
            let featuresFile = FileSystem.join(folder, "preprocessor_config.json")
            let features = try MelConfiguration(path: featuresFile)
            guard features.melCount == whisper.mels, features.frameCount == 2 * whisper.positions else {
                throw LyraError(
                    .format,
                    "\(featuresFile): features of \(features.melCount) mels × \(features.frameCount) frames, but the tower takes "
                        + "\(whisper.mels) × \(2 * whisper.positions)")
            }
            return (whisper, features)
        }
        let whisper = try WhisperConfiguration(shapesOf: tower)
        options.note(
            "\(directory): the speech tower's config.json was not found; a Whisper with heads of 64 and the usual features is assumed"
        )
        let features = try MelConfiguration(
            melCount: whisper.mels, sampleCount: whisper.positions * 2 * 160, source: tower.origin)
        return (whisper, features)
    }

    // MARK: Speech out

    private func openVocoder(_ configuration: LyraConfiguration) throws -> Checkpoint.Part<Vocoder> {
        guard let generator = configuration.generator else {
            return .absent(
                LyraError(.missing, "\(directory): this model does not speak: config.json has no speech_generator_type")
            )
        }
        if let given = options.vocoder, finder.vocoder(given) == nil {
            throw LyraError(
                .missing, "\(given): there is no vocoder: a file g_… with a config.json beside it was expected")
        }
        guard let file = finder.vocoder(options.vocoder) else {
            return absent("no vocoder was found (a file g_… with its config.json); pass the directory that holds it")
        }
        let tensors = try TorchFile(path: file).tensors(under: ["generator"])
        record("vocoder", file, Array(tensors.values))
        let configurationFile = FileSystem.join(FileSystem.parent(of: file), "config.json")
        let vocoder = try JSONFile.decode(VocoderConfiguration.self, path: configurationFile)
        try vocoder.validate(source: configurationFile)
        guard vocoder.numEmbeddings >= generator.units else {
            throw LyraError(
                .format,
                "\(configurationFile): a vocoder of \(vocoder.numEmbeddings) units does not speak the \(generator.units) of "
                    + path("config.json"))
        }
        return .present(try Vocoder(configuration: vocoder, weights: TensorTable(origin: file, tensors: tensors)))
    }
}
