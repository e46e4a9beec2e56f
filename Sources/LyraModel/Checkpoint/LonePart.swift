import LyraBase
import LyraFormats
import LyraMedia
import LyraTensor

/// Parts that lie alone, in the layouts that their makers publish: what a checkpoint is assembled from.
///
/// Every function throws `LyraError`, naming the file, for what is not the part or is damaged.
package enum LonePart {
    /// The encoder of a Whisper directory, which its config.json and preprocessor_config.json describe.
    package static func speechTower(_ directory: String) throws -> WhisperConfiguration {
        let files = DirectoryFiles(directory)
        let whisper = try text(files, "config.json").decode(WhisperConfiguration.self)
        try whisper.validate(files.path("config.json"))
        return whisper
    }

    /// The vision tower of a directory, or of a complete Qwen2-VL, as its config.json describes it.
    package static func visionTower(_ directory: String) throws -> VisionConfiguration {
        let files = DirectoryFiles(directory)
        let vision = try text(files, "config.json").decode(VisionConfiguration.self)
        try vision.validate(files.path("config.json"))
        return vision
    }

    /// The vocoder's file: `path` itself, or the newest in the directory. Reads the whole vocoder.
    package static func vocoder(_ path: String) throws -> String {
        let file = try vocoderFile(path)
        _ = try readVocoder(file)
        return file
    }

    /// Opens the vocoder of a file, or the newest in a directory; its config.json is beside it.
    package static func openVocoder(_ path: String) throws -> Vocoder { try readVocoder(vocoderFile(path)) }

    private static func vocoderFile(_ path: String) throws -> String {
        guard let file = try TowerFinder(checkpoint: path, extra: nil).vocoder(path, check: {}) else {
            throw LyraError(
                .missing, "\(path): there is no vocoder; expected a file g_… with a config.json beside it")
        }
        return file
    }

    private static func readVocoder(_ file: String) throws -> Vocoder {
        let files = TorchFiles(file, under: ["generator"])
        let configuration = try text(files, "config.json").decode(VocoderConfiguration.self)
        try configuration.validate(source: files.path("config.json"))
        return try Vocoder(configuration: configuration, weights: TensorTable(origin: file, tensors: files.tensors()))
    }

    /// The vocoder's file that a checkpoint finds, as `Checkpoint.open` searches for it; nil if there is none. Reads
    /// nothing of it.
    package static func vocoder(of checkpoint: String, options: CheckpointOptions) throws -> String? {
        try TowerFinder(checkpoint: checkpoint, extra: options.towers)
            .vocoder(options.vocoder, check: options.check)
    }

    /// Reads a file with ImageBind's audio branch. → width of its vectors
    package static func soundTower(_ file: String) throws -> Int {
        let tensors = try TorchFile(path: file).tensors().filter { $0.key.contains(".audio.") }
        return try SoundEncoder(TensorTable(origin: file, tensors: tensors), clipShape: SoundClips.shape).outputWidth
    }

    /// The tensors of a file with a speech projector, `linear1.weight` and the others, under any published prefix.
    package static func speechProjector(_ file: String) throws -> [String: StoredTensor] {
        guard let projector = try TensorTable(origin: file, tensors: tensors(file)).speechProjector() else {
            throw LyraError(
                .missing, "\(file): there is no speech projector; expected a tensor mm_speech_projector.linear1.weight")
        }
        return projector.tensors
    }

    /// The tensors of a file with a sound projector, `weight` or `0.weight` and the others.
    package static func soundProjector(_ file: String) throws -> [String: StoredTensor] {
        guard let projector = try TensorTable(origin: file, tensors: tensors(file)).soundProjector() else {
            throw LyraError(
                .missing, "\(file): there is no sound projector; expected a tensor mm_audio_projector.weight")
        }
        return projector.tensors
    }

    /// The tensors of a safetensors or torch.save file.
    static func tensors(_ file: String) throws -> [String: StoredTensor] {
        file.hasSuffix(".safetensors") ? try Safetensors(path: file).tensors : try TorchFile(path: file).tensors()
    }

    private static func text(_ files: any PartFiles, _ name: String) throws -> NamedBytes {
        NamedBytes(name: files.path(name), bytes: try files.text(name))
    }
}
