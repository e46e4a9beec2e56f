import LyraMedia

/// The networks for pictures and video: preparation of pixels, and the encoder.
public struct VisionNetworks: Sendable {
    public let preparation: ImagePreparation
    public let encoder: VisionEncoder
}
