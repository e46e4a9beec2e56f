import LyraFormats
import LyraMedia
import LyraTensor

/// Speech: the Whisper encoder, its features, and a projector for each adapter; the vocoder.
extension CheckpointLoader {
    func openSpeechInput(
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

    /// The encoder's tensors of a Whisper directory; its decoder is left out.
    private func whisperTable(_ folder: String) throws -> TensorTable {
        let table = table(folder, try ShardedSafetensors(directory: folder).tensors)
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

    func openVocoder(_ configuration: LyraConfiguration) throws -> Checkpoint.Part<Vocoder> {
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
        return .present(try Vocoder(configuration: vocoder, weights: table(file, tensors)))
    }
}
