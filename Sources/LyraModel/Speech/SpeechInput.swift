import LyraMedia
import LyraTensor

/// Everything between samples and prompt tokens for speech: features, encoder, and a projector for each adapter.
public struct SpeechInput: Sendable {
    public let mel: LogMelSpectrogram
    public let encoder: WhisperEncoder
    /// The projector that goes with no adapter.
    private let projector: SpeechProjector
    /// For each adapter of the checkpoint the projector trained with it, if it brought one.
    private let adapterProjectors: [SpeechProjector?]
    /// Tokens of one window.
    public let windowTokens: Int

    init(
        mel: LogMelSpectrogram, encoder: WhisperEncoder, projector: SpeechProjector,
        adapterProjectors: [SpeechProjector?],
        downsampling: Int
    ) {
        self.mel = mel
        self.encoder = encoder
        self.projector = projector
        self.adapterProjectors = adapterProjectors
        windowTokens = encoder.configuration.positions / downsampling
    }

    /// Hz that recordings must have.
    public var sampleRate: Int { mel.configuration.sampleRate }
    /// Samples of one window.
    public var windowSamples: Int { mel.configuration.sampleCount }

    /// Tokens for one window's encoder output. [positions, width] → [windowTokens, hidden]
    public func project(_ encoded: Tensor, adapter: Int?) throws -> Tensor {
        let own = adapter.flatMap { adapterProjectors.indices.contains($0) ? adapterProjectors[$0] : nil }
        return try (own ?? projector)(encoded)
    }
}
