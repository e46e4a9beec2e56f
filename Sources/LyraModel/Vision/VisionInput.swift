import LyraMedia

/// Everything between pixels and prompt tokens: how pictures and frames are prepared, and the encoder.
public struct VisionInput: Sendable {
    public let preparation: ImagePreparation
    public let encoder: VisionEncoder
}
