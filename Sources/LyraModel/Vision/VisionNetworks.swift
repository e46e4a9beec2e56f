import LyraMedia

/// The networks for images and videos: the encoder, with the preparation of its pixels.
public struct VisionNetworks: Sendable {
    public let preparation: ImagePreparation
    public let encoder: VisionEncoder

    package init(preparation: ImagePreparation, encoder: VisionEncoder) {
        (self.preparation, self.encoder) = (preparation, encoder)
    }
}
