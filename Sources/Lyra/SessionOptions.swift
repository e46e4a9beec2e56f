import LyraBase
import LyraModel
import LyraTensor
import LyraText

/// Options of a conversation. Nil means the value of the checkpoint's generation_config.json, or else the default
/// stated here.
public struct SessionOptions: Sendable {
    public enum Sampling: Sendable {
        /// Always the most likely token.
        case greedy
        /// Sampled with the options below.
        case random
    }

    /// The adapter that the language model runs with.
    public enum AdapterChoice: Equatable, Sendable {
        /// None until speech is fed, then `speech` while every recording fits one window, then `long_speech`; never
        /// back.
        case automatic
        case none
        case named(String)

        /// "auto", "none", or an adapter's name.
        public init(_ name: String) {
            self = name == "auto" ? .automatic : name == "none" ? .none : .named(name)
        }
    }

    /// Whether the language model prunes the media tokens that the text attends to least (see `Extractor`).
    public enum ExtractorChoice: Equatable, Sendable {
        /// `compress_gap` and `keep_rate` of the checkpoint's config.json; off in the published checkpoints.
        case checkpoint
        case off
        case on(Extractor)
    }

    public var sampling: Sampling?
    /// Above 0 and finite.
    public var temperature: Float?
    /// Keep the k most likely tokens; 0 keeps all.
    public var topK: Int?
    /// Keep the most likely tokens that together reach p, in 0…1.
    public var topP: Float?
    /// Discard tokens whose probability is below this fraction of the highest, in 0…1. Default: 0, which keeps all.
    public var minP: Float?
    /// Above 0 and finite; 1 changes nothing.
    public var repetitionPenalty: Float?
    /// The same seed and inputs give the same answer. Default: a seed from the system's entropy.
    public var seed: UInt64?
    /// Tokens of one answer, 1 to 2^31 - 1. Default: 1024.
    public var maxNewTokens: Int?
    /// Tokens of the whole conversation, 1 to 2^31 - 1. Default: no limit.
    public var maxContextTokens: Int?
    /// Whether answers include speech.
    public var speaks = false
    public var adapter = AdapterChoice.automatic
    /// Plain text: names of special tokens in it are not read as those tokens.
    public var systemPrompt = ChatTemplate.defaultSystemPrompt
    /// Larger images are shrunk to this many pixels before encoding; 3136 to 2^32. Default: the checkpoint's value.
    public var maxImagePixels: Int?
    /// Images with more pixels are refused before decoding, as are videos with larger frames. 1 to 2^32; default:
    /// 2^27 for an image, 2^25 for a frame.
    public var limitPixels: Int?
    /// Longer videos and sounds are refused; sounds over 24 hours always are. Above 0, at most 1e9; default: 24 hours
    /// of video, 10 minutes of sound. Speech has no limit.
    public var limitSeconds: Double?

    public var extractor = ExtractorChoice.checkpoint
    /// Storage type of keys and values. Smaller types allow longer conversations and are read faster.
    public var keyValueType = KeyValueType.float32
    /// Limit in bytes for the KV cache, the cache pages that only a rollback needs, and queued prompt embeddings. A
    /// larger allocation fails with `LyraError.memory`. 1 to 2^50; default: no limit.
    public var maxMemoryBytes: Int?
    /// Skips windows of speech that stay below -60 dB of full scale. The model was not trained this way.
    public var skipsSilence = false

    public init() {}
}

extension SessionOptions {
    /// Layers after which media tokens are pruned; nil for none.
    func schedule(_ checkpoint: Checkpoint) -> ExtractionSchedule? {
        switch extractor {
        case .checkpoint: checkpoint.configuration.extraction
        case .off: nil
        case .on(let extractor): ExtractionSchedule(extractor, layers: checkpoint.decoder.layerCount)
        }
    }

    /// The sampler for these (already checked) options and the checkpoint's defaults.
    func sampler(_ defaults: GenerationDefaults) -> Sampler {
        let temperature = temperature ?? (defaults.temperature > 0 ? defaults.temperature : 1)
        let (topK, topP, minP) = (topK ?? defaults.topK, topP ?? defaults.topP, minP ?? 0)
        let penalty = repetitionPenalty ?? defaults.repetitionPenalty
        let isGreedy = sampling.map { $0 == .greedy } ?? (!defaults.samples || defaults.temperature == 0)
        return Sampler(
            isGreedy: isGreedy, temperature: temperature, topK: topK, topP: topP, minP: minP,
            repetitionPenalty: penalty,
            random: SplitMix64(seed: seed ?? UInt64.random(in: .min ... .max)))
    }
}
