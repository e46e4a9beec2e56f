import LyraBase
import LyraFormats
import LyraModel
import LyraTensor

/// Makes a checkpoint for training from nothing: configuration files in the published layout, and initial weights for
/// every part that they name.
///
/// Adapters change nothing yet, and their speech projectors are copies of the checkpoint's. Weights are F32. The
/// directory appears when it is complete, and opens as a checkpoint.
public struct CheckpointInitializer {
    private let source: String
    private let seed: UInt64
    private let note: (String) -> Void
    private let check: () throws -> Void

    /// - Parameters:
    ///   - directory: config.json, generation_config.json, the tokenizer's files; config.json and
    ///     preprocessor_config.json in the folders of the towers that config.json names; the vocoder's config.json in
    ///     model_zoo/audio/vocoder; adapter_config.json in a folder for each adapter. All files are copied.
    ///   - seed: the same seed gives the same numbers
    ///   - note: receives messages for the user
    ///   - check: called between pieces of the work; throws to give up
    public init(
        _ directory: String, seed: UInt64 = 1, note: @escaping (String) -> Void = { _ in },
        check: @escaping () throws -> Void = {}
    ) {
        (source, self.seed, self.note, self.check) = (directory, seed, note, check)
    }

    /// Makes the checkpoint. All weights of a part are in memory until they are written.
    ///
    /// - Parameter path: a directory to create, or an empty one
    /// - Returns: the parts with their numbers of parameters
    /// - Throws: `LyraError` that names the file and the fault, if a configuration is missing, damaged, or does not fit
    ///   another; `.io` if something cannot be written, or `path` is occupied; what `check` throws. Nothing remains at
    ///   `path` after an error.
    public func write(to path: String) throws -> [(part: String, parameters: Int)] {
        let configuration = try ConfigurationDirectory(source)
        let directory = try OutputDirectory(path: path)
        do {
            for file in configuration.files {
                try directory.copy(FileSystem.join(source, file), as: file, check: check)
            }
            try writeMain(configuration, directory)
            try writeTowers(configuration, directory)
            try writeVocoder(configuration, directory)
            for adapter in configuration.adapters { try write(adapter, directory) }
            let made = try open(directory, configuration)
            try check()
            try directory.commit()
            return made.inventory.map { ($0.name, $0.parameters) }
        } catch {
            directory.discard()
            guard let error = error as? LyraError else { throw error }
            throw LyraError(error.code, directory.explaining(error.message))
        }
    }

    // MARK: Weights

    /// Building a network requests every tensor, with the name and shape that loading will request.
    private func writeMain(_ configuration: ConfigurationDirectory, _ directory: OutputDirectory) throws {
        let main = configuration.configuration
        let weights = RandomWeights(
            InitialValues(part: .main(main.language, main.generator), seed: seed))
        _ = try Decoder(weights, main.language, progress: check)
        if let tower = configuration.speechTower {
            _ = try SpeechProjector(
                weights.under(CheckpointLoader.speechProjectorPrefix), width: tower.sizes.width, configuration: main)
        }
        if let generator = main.generator {
            _ = try SpeechGenerator(
                weights.under(CheckpointLoader.speechGeneratorPrefix), generator, language: main.language,
                progress: check)
        }
        try weights.requested.write(safetensors: directory.newFile("model.safetensors"))
    }

    private func writeTowers(_ configuration: ConfigurationDirectory, _ directory: OutputDirectory) throws {
        if let (folder, sizes) = configuration.speechTower {
            let weights = RandomWeights(InitialValues(part: .speechTower(sizes), seed: seed))
            _ = try WhisperEncoder(weights.under("encoder."), sizes, progress: check)
            try weights.requested.write(safetensors: directory.newFile(folder + "/model.safetensors"))
        }
        if let (folder, sizes) = configuration.visionTower {
            let weights = RandomWeights(InitialValues(part: .visionTower(layers: sizes.layers), seed: seed))
            _ = try VisionEncoder(weights, sizes, progress: check)
            try weights.requested.write(safetensors: directory.newFile(folder + "/model.safetensors"))
        }
    }

    private func writeVocoder(_ configuration: ConfigurationDirectory, _ directory: OutputDirectory) throws {
        guard let vocoder = configuration.vocoder else { return }
        let weights = RandomWeights(InitialValues(part: .vocoder(vocoder), seed: seed))
        _ = try Vocoder(configuration: vocoder, weights: weights)
        // The number is that of the training's steps.
        let file = try directory.newFile(ConfigurationDirectory.vocoderFolder + "/g_00000000")
        try weights.requested.withWeightNorm().write(torch: file, under: ["generator"])
    }

    /// An adapter of what was written so far.
    private func write(_ adapter: (folder: String, settings: AdapterSettings), _ directory: OutputDirectory) throws {
        try check()
        var options = CheckpointOptions()
        options.progress = { _, _ in try check() }
        // Tensors of two adapters have the same names.
        var generator = UniformGenerator(seed: seed, name: adapter.folder)
        let own = UInt64(generator.next().bitPattern) << 32 | UInt64(generator.next().bitPattern)
        let fresh = try FreshAdapter(
            checkpoint: directory.temporary, options: options, settings: adapter.settings, seed: own)
        for file in AdapterWriter.files { _ = try directory.newFile(FileSystem.join(adapter.folder, file)) }
        try fresh.write(to: FileSystem.join(directory.temporary, adapter.folder))
    }

    /// Opens the checkpoint, which checks every part against the others.
    private func open(_ directory: OutputDirectory, _ configuration: ConfigurationDirectory) throws -> Checkpoint {
        var options = CheckpointOptions()
        options.progress = { _, _ in try check() }
        options.note = { note(directory.explaining($0)) }
        let checkpoint = try Checkpoint.open(directory.temporary, options: options)
        if configuration.speechTower != nil { _ = try checkpoint.speechNetworks.get() }
        if configuration.visionTower != nil { _ = try checkpoint.visionNetworks.get() }
        if configuration.vocoder != nil { _ = try checkpoint.vocoder.get() }
        return checkpoint
    }
}
