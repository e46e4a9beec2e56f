import LyraMedia
import LyraTensor

/// The networks for sound other than speech: the encoder and the projector.
public struct SoundNetworks: Sendable {
    public let encoder: SoundEncoder
    let projector: SoundProjector

    init(encoder: SoundEncoder, projector: SoundProjector) {
        self.encoder = encoder
        self.projector = projector
    }

    /// One token for each clip. [clips, encoder's width] → [clips, hidden]
    public func project(_ vectors: Tensor) throws -> Tensor { try projector(vectors) }
}
