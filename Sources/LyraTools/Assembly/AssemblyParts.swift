/// The parts that a checkpoint is assembled from, as their makers publish them.
public struct AssemblyParts: Sendable {
    /// Directory of the language model: Qwen2-VL as on the hub, with its vision tower inside; or the reference's
    /// directory of the language model alone.
    public var languageModel: String
    /// Directory of a Whisper model.
    public var speechTower: String?
    /// Directory of a vision tower, which replaces the one inside the language model's checkpoint.
    public var visionTower: String?
    /// ImageBind's file.
    public var soundTower: String?
    /// The vocoder's file or its directory.
    public var vocoder: String?
    /// File with a trained speech projector; nil for a fresh one, if there is a speech tower.
    public var speechProjector: String?
    /// Whether the speech projector was trained with tokens scaled to length 1 (`speech_norm`).
    public var normalizesSpeech = false
    /// File with a trained sound projector.
    public var soundProjector: String?
    /// Directories of adapters. The name of a directory, without `_lora`, is the adapter's name.
    public var adapters: [String] = []

    public init(languageModel: String) { self.languageModel = languageModel }
}
