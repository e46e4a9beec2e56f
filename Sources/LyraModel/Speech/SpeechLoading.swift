import LyraFormats
import LyraMedia
import LyraBase

/// Loads the Whisper encoder with its features, a projector for each adapter, and the vocoder.
extension CheckpointLoader {
    func openSpeechNetworks(
        _ main: TensorTable, _ configuration: LyraConfiguration, _ adapters: [Adapter]
    ) throws -> Checkpoint.Part<SpeechNetworks> {
        guard let name = configuration.speechTower else {
            return absentByConfiguration(
                "takes no speech", "mm_speech_tower", configuration, part: "speech tower and no speech projector")
        }
        let inside = main.subtable(under: ["model.speech_tower.speech_tower."], holding: "conv1.weight")
        let found = try source.tower(.speechTower, name, isInside: inside != nil)
        let outside = try inside == nil ? found.tensors.map { try whisperTable($0) } : nil
        guard let tower = inside ?? outside else {
            return absent(
                "the speech tower \(shown(name)) is neither in the checkpoint nor at \(found.places); pass the "
                    + "directory that holds the towers"
            )
        }
        keep(.speechTower, tower)
        let whisper: WhisperConfiguration, features: MelConfiguration
        do {
            (whisper, features) = try towerConfigurations(found.texts, tower)
        } catch let error as LyraError where found.texts == nil {
            return absent(error, name, found)
        }
        let encoder = try WhisperEncoder(trainable(tower, .speechTower), whisper, progress: check)
        let projector = try SpeechProjector(
            trainable(main, .main).under(Self.speechProjectorPrefix), width: whisper.width,
            configuration: configuration)
        let own = try adapters.enumerated().map { index, adapter in
            try adapter.projector.map {
                try SpeechProjector(
                    trainable($0, .adapterProjector(index)), width: whisper.width, configuration: configuration)
            }
        }
        return .present(
            SpeechNetworks(
                mel: try LogMelSpectrogram(features), encoder: encoder, projector: projector,
                adapterProjectors: own, downsampling: configuration.speechDownsampling))
    }

    /// The tensors of the encoder from a Whisper directory, without the decoder.
    private func whisperTable(_ files: any PartFiles) throws -> TensorTable {
        let table = table(files.origin, try tensors(files))
        guard let encoder = table.subtable(under: ["encoder.", "model.encoder.", ""], holding: "conv1.weight") else {
            throw LyraError(
                .format, "\(files.origin): there is no tensor encoder.conv1.weight; is it a Whisper model?")
        }
        record("speech tower", files.origin, encoder.all)
        return encoder
    }

    /// Read from the tower's texts, or derived from the tensor shapes if there are no texts.
    private func towerConfigurations(
        _ texts: (any PartFiles)?, _ tower: TensorTable
    ) throws -> (WhisperConfiguration, MelConfiguration) {
        if let texts {
            let whisper = try decode(WhisperConfiguration.self, .speechTower, texts, "config.json") {
                try KnownKeys.whisper.check($0, $1, note: $2)
            }
            try whisper.validate(texts.path("config.json"))
            let file = try text(.speechTower, texts, "preprocessor_config.json")
            let features = try MelConfiguration(file)
            try checkKeys(file) { try KnownKeys.features.check($0, $1, note: $2) }
            guard features.melCount == whisper.mels, features.frameCount == 2 * whisper.positions else {
                throw LyraError(
                    .format,
                    "\(file.name): features of \(features.melCount) mels × \(features.frameCount) frames, but the "
                        + "tower takes \(whisper.mels) × \(2 * whisper.positions)")
            }
            return (whisper, features)
        }
        let whisper = try WhisperConfiguration(shapesOf: tower)
        options.note(
            "\(origin): the speech tower's config.json was not found; assuming a Whisper with heads 64 wide and the "
                + "default features"
        )
        let features = try MelConfiguration(
            melCount: whisper.mels, sampleCount: whisper.positions * 2 * 160, source: tower.origin)
        return (whisper, features)
    }

    /// The vocoder, for a checkpoint with a speech generator.
    ///
    /// - Parameter namesGenerator: whether the speech generator is the checkpoint's own, not a fresh one
    func openVocoder(_ configuration: LyraConfiguration, namesGenerator: Bool) throws -> Checkpoint.Part<Vocoder> {
        guard let generator = configuration.generator else {
            return absentByConfiguration(
                "generates no speech", "speech_generator_type", configuration, part: "speech generator")
        }
        guard let files = try source.vocoder(check: check) else {
            return absent("no vocoder was found (a file g_… with its config.json); pass the directory that holds it")
        }
        let tensors = try tensors(files)
        record("vocoder", files.origin, Array(tensors.values))
        let table = table(files.origin, tensors)
        keep(.vocoder, table)
        let vocoder = try decode(VocoderConfiguration.self, .vocoder, files, "config.json") {
            try KnownKeys.vocoder.check($0, $1, note: $2)
        }
        let file = files.path("config.json")
        try vocoder.validate(source: file)
        guard vocoder.numEmbeddings >= generator.units else {
            throw LyraError(
                .format,
                "\(file): the vocoder has \(vocoder.numEmbeddings) units, fewer than the \(generator.units) of "
                    + (namesGenerator ? source.main.path("config.json") : "the fresh speech generator"))
        }
        return .present(try Vocoder(configuration: vocoder, weights: trainable(table, .vocoder)))
    }
}
