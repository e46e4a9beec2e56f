import LyraBase
import LyraFormats
import LyraMedia
import LyraTensor
import LyraText

/// How to open a checkpoint.
public struct CheckpointOptions {
    /// Directory to search for towers and the vocoder, after the locations that the checkpoint implies.
    public var towers: String?
    /// The vocoder's file or its directory.
    public var vocoder: String?
    /// A file with the sound projector, which no published checkpoint includes.
    public var soundProjector: String?
    /// A file with a speech projector in place of the checkpoint's own, as stage 1 of the training writes it.
    package var speechProjector: String?
    /// Directories of adapters outside the checkpoint, each with the adapter's name. One with the name of an adapter of
    /// the checkpoint takes its place, with or without a projector.
    public var adapterDirectories: [(name: String, path: String)] = []
    /// Precision of products and of attention. Nil means exact, but fast if any of the main tensors is quantized,
    /// because such products round anyway.
    public var precision: Precision?
    /// The parameters that training changes; nil to change none.
    package var trainables: TrainableParameters?
    /// A speech generator for a checkpoint that has none, to be trained; without effect on a checkpoint with its own.
    package var freshGenerator: (any FreshSpeechGenerator)?
    /// Receives messages for the user: absent parts, derived values.
    public var note: (String) -> Void = { _ in }
    /// Receives the number of opened components (mostly layers) and their total; throws to abort.
    public var progress: (_ done: Int, _ total: Int) throws -> Void = { _, _ in }

    public init() {}

    /// Lets `progress` abort before the total is known.
    func check() throws { try progress(0, 1) }
}

extension Checkpoint {
    /// Opens a directory in the published layout (config.json, safetensors, vocabulary, adapters, and the towers it
    /// names), a plain Qwen2-VL in a layout of Hugging Face's, or a GGUF file: a complete model from `lyra convert`, or
    /// a language model of architecture "qwen2vl" or "qwen2". A path that begins with "lyra:" is the name of a
    /// `BuiltInModel`.
    ///
    /// Plain weights stay mapped. Quantized weights, BF16 weights for `fast`, and 8-bit floats are copied to memory.
    /// - Throws: `LyraError` that names the file and the fault.
    public static func open(_ path: String, options: CheckpointOptions = CheckpointOptions()) throws -> Checkpoint {
        try CheckpointLoader(path, options).load()
    }
}

/// Reads a checkpoint part by part and records what it has read.
package final class CheckpointLoader {
    let source: any ModelSource
    let options: CheckpointOptions
    var inventory: [Checkpoint.PartSize] = []
    package private(set) var contents = ModelContents()
    /// Precision of all parts, set once the main tensors are known.
    private(set) var precision = Precision.exact
    var done = 0
    var total = 0

    /// - Throws: `LyraError.missing` if nothing exists at `path`, or if the towers' directory does not exist; for a
    ///   file, any error of `OneFileSource`; for the name of a built-in model, any error of `BuiltInModel.file`.
    package init(_ path: String, _ options: CheckpointOptions) throws {
        self.options = options
        try FileSystem.checkPath(path)
        if let towers = options.towers {
            try FileSystem.checkPath(towers)
            guard try FileSystem.isDirectory(towers) else {
                throw LyraError(.missing, "\(towers): there is no such directory; it should contain the towers")
            }
        }
        if BuiltInModel.isName(path) {
            source = try OneFileSource(BuiltInModel.file(path), options)
        } else if try FileSystem.isDirectory(path) {
            guard try FileSystem.isFile(FileSystem.join(path, "config.json")) else {
                throw LyraError(
                    .missing,
                    "\(path): not a checkpoint directory: it has no config.json" + (try Self.trainingResult(in: path)))
            }
            source = try DirectorySource(path, options)
        } else if try FileSystem.isFile(path) {
            source = try OneFileSource(MappedFile(path: path), options)
        } else {
            let isSpecial = try FileSystem.isSpecial(path)
            let reason = isSpecial ? "not a regular file or directory" : "there is no such file or directory"
            throw LyraError(
                .missing, "\(path): \(reason); a checkpoint is a directory with a config.json, or a GGUF file")
        }
    }

    /// What a directory has that a training run wrote, for a message; empty if it has nothing.
    private static func trainingResult(in path: String) throws -> String {
        func inside(_ name: String) -> String { FileSystem.join(path, name) }
        func has(_ file: String, _ folder: String) throws -> Bool {
            try FileSystem.isFile(FileSystem.join(inside(folder), file))
        }
        if try has("config.json", "model") { return "; there is a checkpoint in it: \(inside("model"))" }
        let adapter = try FileSystem.entries(of: path).first {
            try !FileSystem.isReserved($0) && has("adapter_config.json", $0)
        }
        if let adapter {
            return "; there is an adapter in it, \(inside(adapter)): open the checkpoint that the adapter was trained "
                + "on, and give the adapter's directory beside it"
        }
        let projector = inside("non_lora_trainables.bin")
        guard try FileSystem.isFile(projector) else { return "" }
        return "; there is a projector in it, \(projector): assemble a checkpoint with it, or train with it as "
            + "the speech projector"
    }

    /// File or directory, for error messages.
    var origin: String { source.origin }

    /// Whether the model is a file of another program that holds only a language model.
    package var holdsLanguageModelAlone: Bool { source.language != nil }

    package func load() throws -> Checkpoint {
        var configuration = try readConfiguration()
        let freshGenerator = configuration.generator == nil ? options.freshGenerator : nil
        if let freshGenerator { configuration.generator = freshGenerator.configuration }
        total = configuration.language.layers + (configuration.generator?.layers ?? 0) + 5
        let main = try mainTable()
        if freshGenerator != nil { try checkUnnamedGenerator(main) }
        let adapters = try findAdapters()
        try options.trainables?.begin(
            adapters: adapters.map { ($0.name, $0.projector != nil) }, origin: origin)
        let weights = trainable(main, .main)
        var decoder = try Decoder(weights, configuration.language, progress: advance)
        for (index, adapter) in adapters.enumerated() {
            try decoder.addAdapter(
                adapter.table, trainable(adapter.table, .adapter(index)), adapter.configuration)
        }
        let speechNetworks = try openSpeechNetworks(main, configuration, adapters)
        try advance()
        let visionNetworks = try openVisionNetworks(main, configuration)
        try advance()
        let soundNetworks = try openSoundNetworks(main, configuration)
        try advance()
        let generator = try configuration.generator.map {
            let weights = freshGenerator.map { trainable($0.weights(precision: precision), .main) } ?? weights
            return try SpeechGenerator(
                weights.under(Self.speechGeneratorPrefix), $0, language: configuration.language, progress: advance)
        }
        let vocoder = try openVocoder(configuration, namesGenerator: freshGenerator == nil)
        try advance()
        let defaults = try readGenerationDefaults()
        let tokenizer = try readTokenizer(configuration)
        try advance()
        try options.trainables?.finish()
        return Checkpoint(
            configuration: configuration, decoder: decoder, tokenizer: tokenizer, generationDefaults: defaults,
            adapters: adapters.map(\.name), speechNetworks: speechNetworks, visionNetworks: visionNetworks,
            soundNetworks: soundNetworks, generator: generator, vocoder: vocoder,
            inventory: inventory)
    }

    private func advance() throws {
        done += 1
        try options.progress(min(done, total), total)
    }

    /// Lets the caller abort while a part is read.
    func check() throws { try options.progress(min(done, total), max(total, 1)) }

    // MARK: Texts

    /// The bytes of a part's text, with a name for messages.
    func text(_ part: ModelPart, _ files: any PartFiles, _ name: String) throws -> NamedBytes {
        let bytes = try files.text(name)
        try noteRead(files.path(name))
        contents.texts.append((part.folder + name, bytes))
        return NamedBytes(name: files.path(name), bytes: bytes)
    }

    /// A check of a configuration's keys: receives the text, its name for messages, and a function for notes.
    typealias KeyCheck = (JSONValue, String, (String) -> Void) throws -> Void

    /// Decodes a part's JSON text.
    ///
    /// - Parameter check: rejects keys that change the numbers and that lyra does not compute
    func decode<T: Decodable>(
        _ type: T.Type, _ part: ModelPart, _ files: any PartFiles, _ name: String, check: KeyCheck
    ) throws -> T {
        let text = try text(part, files, name)
        let value = try text.decode(type)
        try checkKeys(text, check)
        return value
    }

    /// The same check without decoding.
    func checkKeys(_ text: NamedBytes, _ check: KeyCheck) throws {
        try check(try text.json(), text.name, options.note)
    }

    private func readConfiguration() throws -> LyraConfiguration {
        let configuration =
            try source.language?.configuration(note: options.note)
            ?? decode(
                LyraConfiguration.self, .main, source.main, "config.json", check: ConfigurationChecks.main)
        try configuration.validate(source.language == nil ? source.main.path("config.json") : origin)
        return configuration
    }

    /// The configuration of the checkpoint's own speech generator, nil if it has none, and of the language model. Opens
    /// no tensors.
    package func generatorConfiguration() throws -> (
        generator: SpeechGeneratorConfiguration?, language: DecoderConfiguration
    ) {
        let configuration = try readConfiguration()
        return (configuration.generator, configuration.language)
    }

    /// - Throws: `LyraError.format` if there are tensors of a speech generator that config.json does not name: a fresh
    ///   one would take their place.
    private func checkUnnamedGenerator(_ main: TensorTable) throws {
        guard let name = main.names.filter({ $0.hasPrefix(Self.speechGeneratorPrefix) }).min() else { return }
        throw LyraError(
            .format,
            "\(origin): has the tensor \(shown(name)), but config.json names no speech generator; add "
                + "speech_generator_type and ctc_decoder_config, or remove the tensors to train a fresh one")
    }

    private func readGenerationDefaults() throws -> GenerationDefaults {
        let name = "generation_config.json"
        guard try source.main.has(name) else { return GenerationDefaults() }
        let defaults = try decode(GenerationDefaults.self, .main, source.main, name) {
            try KnownKeys.generation.check($0, $1, note: $2)
        }
        try defaults.validate(source.main.path(name))
        return defaults
    }

    /// Reads vocab.json, merges.txt and the added tokens; falls back to tokenizer.json.
    private func readTokenizer(_ configuration: LyraConfiguration) throws -> Tokenizer {
        let tokenizer = try source.language?.tokenizer() ?? tokenizerOfTexts()
        let rows = configuration.language.vocabularySize
        guard tokenizer.vocabularySize <= rows else {
            throw LyraError(
                .format,
                "\(origin): the tokenizer has \(tokenizer.vocabularySize) tokens, but the model embeds only \(rows)")
        }
        return tokenizer
    }

    private func tokenizerOfTexts() throws -> Tokenizer {
        let files = source.main
        func optional(_ name: String) throws -> NamedBytes? {
            try files.has(name) ? text(.main, files, name) : nil
        }
        if try !files.has("vocab.json"), let whole = try optional("tokenizer.json") {
            return try Tokenizer(tokenizerJSON: whole)
        }
        return try Tokenizer(
            vocabJSON: text(.main, files, "vocab.json"), mergesText: text(.main, files, "merges.txt"),
            addedTokensJSON: optional("added_tokens.json"), tokenizerConfigJSON: optional("tokenizer_config.json"))
    }

    // MARK: Tensors

    private func mainTable() throws -> TensorTable {
        let own = try ParameterNames.published(tensors(source.main), origin)
        let tensors = try options.speechProjector.map { try replacingSpeechProjector(of: own, with: $0) } ?? own
        let groups = Dictionary(grouping: tensors, by: { Self.partName($0.key) }).sorted { $0.key < $1.key }
        for (name, members) in groups { record(name, origin, members.map(\.value)) }
        precision = options.precision ?? (tensors.values.contains { $0.type.blockElements > 1 } ? .fast : .exact)
        let table = table(origin, tensors)
        keep(.main, table)
        return table
    }

    private func replacingSpeechProjector(
        of main: [String: StoredTensor], with file: String
    ) throws -> [String: StoredTensor] {
        let projector = try LonePart.speechProjector(file)
        noteRead(projector)
        var result = main.filter { !$0.key.hasPrefix(Self.speechProjectorPrefix) }
        for (name, tensor) in projector { result[Self.speechProjectorPrefix + name] = tensor }
        return result
    }

    /// The tensors of a part's files.
    func tensors(_ files: any PartFiles) throws -> [String: StoredTensor] {
        let tensors = try files.tensors()
        if let index = files.index { try noteRead(index) }
        noteRead(tensors)
        return tensors
    }

    func noteRead(_ tensors: [String: StoredTensor]) {
        for tensor in tensors.values {
            if let file = (tensor.owner as? MappedFile)?.identity { contents.files.insert(file) }
        }
    }

    private func noteRead(_ path: String) throws {
        if let file = try FileIdentity(path: path) { contents.files.insert(file) }
    }

    /// A table of one file's or directory's tensors, with the precision of the options.
    func table(_ origin: String, _ tensors: [String: StoredTensor]) -> TensorTable {
        TensorTable(origin: origin, tensors: tensors, precision: precision)
    }

    /// The weights of a part, some of which training may change.
    func trainable(_ table: any WeightSource, _ part: ModelPart) -> any WeightSource {
        options.trainables.map { TrainableSource(base: table, part: part, trainables: $0) } ?? table
    }

    /// Records the tensors that make up a part.
    func keep(_ part: ModelPart, _ table: TensorTable) { contents.tensors.append((part, table.tensors)) }

    /// The part that a tensor of the main checkpoint belongs to, for the inventory.
    private static func partName(_ tensor: String) -> String {
        let prefixes = [
            ("speech_generator.", "speech generator"), ("model.vision_tower.", "vision tower"),
            ("model.speech_tower.", "speech tower"), ("model.mm_speech_projector.", "speech projector"),
            ("model.mm_audio_projector.", "sound projector"),
        ]
        return prefixes.first { tensor.hasPrefix($0.0) }?.1 ?? "language model"
    }

    func record(_ name: String, _ source: String, _ tensors: [StoredTensor]) {
        let byType = Dictionary(grouping: tensors, by: \.type).map { ($0.key, $0.value.count) }
        inventory.append(
            Checkpoint.PartSize(
                name: name, source: source,
                parameters: tensors.reduce(0) { $0.saturatingAdding($1.count) },
                bytes: tensors.reduce(0) { $0.saturatingAdding($1.byteCount) }, types: byType.sorted { $0.1 > $1.1 }))
    }

    // MARK: Adapters

    struct Adapter {
        var name: String
        var table: TensorTable
        var configuration: AdapterConfiguration
        /// The speech projector that was trained with the adapter, if there is one.
        var projector: TensorTable?
    }

    /// The checkpoint's adapters and those of the options.
    private func adapterFiles() throws -> [AdapterFiles] {
        var all = try source.adapters()
        for (name, path) in options.adapterDirectories {
            let given = try DirectorySource.adapter(path, named: Checkpoint.adapterName(directory: name))
            // Compared byte by byte, because Unicode equality would match distinct names.
            if let index = all.firstIndex(where: { $0.name.utf8.elementsEqual(given.name.utf8) }) {
                all[index] = given
            } else {
                all.append(given)
            }
        }
        return all
    }

    /// Whether an adapter called `name`, with or without "_lora", is there. Opens no tensors.
    package func hasAdapter(_ name: String) throws -> Bool {
        let names = [name, Checkpoint.adapterName(directory: name)]
        return try adapterFiles().contains { found in names.contains { $0.utf8.elementsEqual(found.name.utf8) } }
    }

    private func findAdapters() throws -> [Adapter] {
        try adapterFiles().enumerated().map { index, found in
            let file = "adapter_config.json"
            let configuration = try decode(AdapterConfiguration.self, .adapter(index), found.files, file) {
                try KnownKeys.adapter.check($0, $1, note: $2)
            }
            try configuration.validate(found.files.path(file))
            let all = table(
                found.files.origin, try ParameterNames.publishedAdapter(tensors(found.files), found.files.origin))
            let (updates, own) = all.splitting(prefix: ParameterNames.peft + Self.speechProjectorPrefix) {
                configuration.replaces($0)
            }
            record("adapter \(found.name)", found.files.origin, updates.all)
            keep(.adapter(index), updates)
            contents.adapters.append(found.name)
            return Adapter(
                name: found.name, table: updates, configuration: configuration,
                projector: try adapterProjector(found, own, index, configuration))
        }
    }

    /// The speech projector that was trained with an adapter: among the adapter's tensors (`own`), or in a file beside
    /// them; nil if there is none.
    private func adapterProjector(
        _ adapter: AdapterFiles, _ own: TensorTable?, _ index: Int, _ configuration: AdapterConfiguration
    ) throws -> TensorTable? {
        let beside = try adapter.projector.flatMap { files in
            try table(files.origin, tensors(files)).speechProjector()
        }
        if let own, let beside {
            throw LyraError(
                .format, "\(own.origin): holds a speech projector, and so does \(beside.origin); remove one of them")
        }
        guard let projector = own ?? beside else {
            guard !configuration.replaces(ParameterNames.peft + Self.speechProjectorPrefix + "linear1.weight") else {
                throw LyraError(
                    .missing,
                    "\(adapter.files.origin): modules_to_save names the speech projector, which is not there")
            }
            return nil
        }
        record("speech projector of \(adapter.name)", projector.origin, projector.all)
        keep(.adapterProjector(index), projector)
        return projector
    }

    /// The published prefix of the speech projector's tensors.
    package static let speechProjectorPrefix = "model.mm_speech_projector."

    /// The published prefix of the speech generator's tensors.
    package static let speechGeneratorPrefix = "speech_generator."

    /// A part that the configuration does not mention.
    ///
    /// - Parameters:
    ///   - lack: what the model does not do: "takes no speech"
    ///   - part: what a plain Qwen2-VL lacks
    func absentByConfiguration<Network>(
        _ lack: String, _ key: String, _ configuration: LyraConfiguration, part: String
    ) -> Checkpoint.Part<Network> {
        let reason =
            source.language != nil
            ? "the file holds a language model alone"
            : configuration.isPlainQwen2VL
                ? "it is a plain Qwen2-VL checkpoint, which has no \(part); 'lyra assemble' makes a Lyra checkpoint"
                : "config.json has no \(key)"
        return .absent(LyraError(.missing, "\(origin): this model \(lack): \(reason)"))
    }

    /// A part that does not exist; tells the user.
    func absent<Network>(_ reason: String) -> Checkpoint.Part<Network> {
        absent(LyraError(.missing, "\(origin): \(reason)"))
    }

    private func absent<Network>(_ error: LyraError) -> Checkpoint.Part<Network> {
        options.note(error.message)
        return .absent(error)
    }

    /// A tower whose configuration was not found and does not follow from its tensor shapes; `error` is the reason.
    func absent<Network>(_ error: LyraError, _ name: String, _ found: TowerFiles) -> Checkpoint.Part<Network> {
        absent(
            LyraError(
                .missing,
                "\(error.message): \(shown(name)) was searched for at \(found.places); pass the directory that holds "
                    + "the towers"))
    }
}
