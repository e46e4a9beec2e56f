import LyraMedia
import LyraTensor

/// The networks for speech: mel features, encoder, and a projector for each adapter.
public struct SpeechNetworks: Sendable {
    public let mel: LogMelSpectrogram
    public let encoder: WhisperEncoder
    /// The projector to use without an adapter.
    let projector: SpeechProjector
    /// The projector trained with each adapter; nil where an adapter has none.
    package let adapterProjectors: [SpeechProjector?]
    /// Number of tokens for one window.
    public let windowTokens: Int

    package init(
        mel: LogMelSpectrogram, encoder: WhisperEncoder, projector: SpeechProjector,
        adapterProjectors: [SpeechProjector?], downsampling: Int
    ) {
        self.mel = mel
        self.encoder = encoder
        self.projector = projector
        self.adapterProjectors = adapterProjectors
        windowTokens = encoder.configuration.positions / downsampling
    }

    /// Required sample rate in Hz.
    public var sampleRate: Int { mel.configuration.sampleRate }
    /// Samples of one window.
    public var windowSamples: Int { mel.configuration.sampleCount }

    /// Projects the encoder output of one window to tokens. [positions, width] → [windowTokens, hidden]
    public func project(_ encoded: Tensor, adapter: Int?) throws -> Tensor {
        let own = adapter.flatMap { adapterProjectors.indices.contains($0) ? adapterProjectors[$0] : nil }
        return try (own ?? projector)(encoded)
    }
}
