import LyraMedia

/// What images and videos need: the preparation of pixels, and the encoder.
public struct VisionNetworks: Sendable {
    public let preparation: ImagePreparation
    public let encoder: VisionEncoder

    package init(preparation: ImagePreparation, encoder: VisionEncoder) {
        (self.preparation, self.encoder) = (preparation, encoder)
    }
}
