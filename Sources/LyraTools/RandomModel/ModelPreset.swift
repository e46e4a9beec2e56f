import LyraBase
import LyraMedia
import LyraModel
import LyraTensor

/// The sizes of a whole model, without its weights.
public struct ModelPreset: Sendable {
    public var name: String
    public var language: DecoderConfiguration
    public var whisper: WhisperConfiguration
    public var downsampling: Int
    public var vision: VisionConfiguration
    /// A sound tower and its projector; no published model has one.
    public var sound: SoundSizes?
    public var generator: SpeechGeneratorConfiguration
    public var vocoder: VocoderConfiguration
    /// Rank and alpha of the adapters `speech` and `long_speech`.
    public var adapters: [(name: String, rank: Int, alpha: Int)]

    /// Lyra_Mini_3B: Qwen2-VL 2B's language model, Whisper large-v3-turbo.
    public static let mini = ModelPreset(
        name: "mini",
        language: DecoderConfiguration(
            hiddenSize: 1536, layers: 28, heads: 12, kvHeads: 2, intermediateSize: 8960, vocabularySize: 151_936,
            mropeSections: [16, 24, 24], tiesEmbeddings: true),
        whisper: .large, downsampling: 5,
        vision: VisionConfiguration(width: 1280, layers: 32, heads: 16, outputWidth: 1536), generator: .published,
        vocoder: VocoderConfiguration(),
        adapters: [("speech", 64, 16), ("long_speech", 128, 256)])

    /// Lyra_Base_9B: Qwen2-VL 7B's language model, Whisper large-v3.
    public static let base = ModelPreset(
        name: "base",
        language: DecoderConfiguration(
            hiddenSize: 3584, layers: 28, heads: 28, kvHeads: 4, intermediateSize: 18_944, vocabularySize: 152_064,
            mropeSections: [16, 24, 24], tiesEmbeddings: false),
        whisper: .large, downsampling: 5,
        vision: VisionConfiguration(width: 1280, layers: 32, heads: 16, outputWidth: 3584), generator: .published,
        vocoder: VocoderConfiguration(),
        adapters: [("speech", 64, 16), ("long_speech", 128, 256)])

    /// Every part at toy size; a few megabytes altogether.
    public static let tiny = ModelPreset(
        name: "tiny",
        language: DecoderConfiguration(
            hiddenSize: 64, layers: 4, heads: 4, kvHeads: 2, intermediateSize: 128, vocabularySize: 512,
            mropeSections: [2, 3, 3], tiesEmbeddings: true),
        whisper: WhisperConfiguration(width: 48, layers: 2, heads: 3, inner: 96, mels: 80, positions: 1500),
        downsampling: 5, vision: VisionConfiguration(width: 32, layers: 2, heads: 2, outputWidth: 64),
        sound: SoundSizes(width: 128, layers: 2, outputWidth: 24),
        generator: SpeechGeneratorConfiguration(layers: 2, dim: 32, heads: 2, inner: 64, units: 100),
        vocoder: VocoderConfiguration(units: 100, initialChannels: 32, embeddingDim: 16),
        adapters: [("speech", 8, 16), ("long_speech", 16, 32)])

    public static let all = [tiny, mini, base]

    /// The same widths with at most `most` layers in each network except the vocoder.
    public func limited(toLayers most: Int) -> ModelPreset {
        var limited = self
        limited.language.layers = min(language.layers, most)
        limited.whisper.layers = min(whisper.layers, most)
        limited.vision.layers = min(vision.layers, most)
        limited.sound?.layers = min(sound?.layers ?? most, most)
        limited.generator.layers = min(generator.layers, most)
        return limited
    }

    var configuration: LyraConfiguration {
        LyraConfiguration(
            language: language, speechTower: "model_zoo/audio/whisper", visionTower: "model_zoo/vision/Qwen2VL_ViT",
            soundTower: sound == nil ? nil : "model_zoo/audio/imagebind.pth", speechDownsampling: downsampling,
            normalizesSpeech: false, generator: generator, endTokens: [])
    }
}

extension ModelPreset {
    /// The preset's networks over these weights, without adapters and sound. Each network requests the same tensors as
    /// from a checkpoint's files.
    ///
    /// - Parameter main: weights of the language model, the speech projector and the speech generator
    func checkpoint(
        main: RandomWeights, speechTower: RandomWeights, visionTower: RandomWeights, vocoder weights: RandomWeights
    ) throws -> Checkpoint {
        let decoder = try Decoder(main, language)
        let speech = SpeechNetworks(
            mel: try LogMelSpectrogram(MelConfiguration(melCount: whisper.mels)),
            encoder: try WhisperEncoder(speechTower.under("encoder."), whisper),
            projector: try speechProjector(from: main, under: "model.mm_speech_projector."), adapterProjectors: [],
            downsampling: downsampling)
        let visionNetworks = VisionNetworks(
            preparation: ImagePreparation(), encoder: try VisionEncoder(visionTower, vision))
        return Checkpoint(
            configuration: configuration, decoder: decoder,
            tokenizer: try TinyVocabulary().tokenizer(), speechNetworks: .present(speech),
            visionNetworks: .present(visionNetworks),
            soundNetworks: .absent(LyraError(.missing, "this model of random weights takes no sound")),
            generator: try SpeechGenerator(main.under("speech_generator."), generator, language: language),
            vocoder: .present(try Vocoder(configuration: vocoder, weights: weights)))
    }

    /// The speech projector over these weights.
    @discardableResult
    func speechProjector(from source: RandomWeights, under prefix: String) throws -> SpeechProjector {
        try SpeechProjector(source.under(prefix), width: whisper.width, configuration: configuration)
    }
}

/// Sizes of an ImageBind audio branch.
public struct SoundSizes: Sendable {
    public var width: Int
    public var layers: Int
    public var outputWidth: Int

    /// Requests every tensor of a linear projector to tokens of this width.
    func requestProjector(from source: RandomWeights, outputs: Int) throws {
        let name = "model.mm_audio_projector."
        _ = try source.tensor(name + "weight", [outputs, outputWidth])
        _ = try source.tensor(name + "bias", [outputs])
    }

    /// Requests every tensor that a checkpoint of these sizes has.
    func request(from source: RandomWeights) throws {
        func make(_ names: [(String, [Int])], under prefix: String) throws {
            for (name, shape) in names { _ = try source.tensor(prefix + name, shape) }
        }
        try make(
            [
                ("cls_token", [1, 1, width]), ("rgbt_stem.proj.weight", [width, 1, 16, 16]),
                ("rgbt_stem.norm_layer.weight", [width]), ("rgbt_stem.norm_layer.bias", [width]),
                ("pos_embedding_helper.pos_embed", [1, 229, width]),
            ], under: "modality_preprocessors.audio.")
        for layer in 0..<layers {
            try make(
                [
                    ("norm_1.weight", [width]), ("norm_1.bias", [width]), ("norm_2.weight", [width]),
                    ("norm_2.bias", [width]), ("attn.in_proj_weight", [3 * width, width]),
                    ("attn.in_proj_bias", [3 * width]), ("attn.bias_k", [1, 1, width]), ("attn.bias_v", [1, 1, width]),
                    ("attn.out_proj.weight", [width, width]), ("attn.out_proj.bias", [width]),
                    ("mlp.fc1.weight", [4 * width, width]), ("mlp.fc1.bias", [4 * width]),
                    ("mlp.fc2.weight", [width, 4 * width]), ("mlp.fc2.bias", [width]),
                ], under: "modality_trunks.audio.blocks.\(layer).")
        }
        try make(
            [("0.weight", [width]), ("0.bias", [width]), ("2.weight", [outputWidth, width])],
            under: "modality_heads.audio.")
        try make([("log_logit_scale", [])], under: "modality_postprocessors.audio.1.")
    }
}

extension WhisperConfiguration {
    /// The encoder of Whisper large-v3 and large-v3-turbo.
    static let large = WhisperConfiguration(
        width: 1280, layers: 32, heads: 20, inner: 5120, mels: 128, positions: 1500)
}

extension SpeechGeneratorConfiguration {
    /// `ctc_decoder_config` of the published checkpoints.
    package static let published = SpeechGeneratorConfiguration(layers: 2, dim: 4096, heads: 32, inner: 11_008)
}

extension Checkpoint {
    /// A model with random weights in memory, without adapters.
    ///
    /// - Parameter type: F32, F16, BF16 or a quantized type. The vocoder's weights are F32, as published.
    public static func random(
        _ preset: ModelPreset, type: ElementType, precision: Precision = .exact, seed: UInt64 = 1
    ) throws -> Checkpoint {
        let main = RandomWeights(seed: seed, type: type, precision: precision)
        return try preset.checkpoint(
            main: main, speechTower: main, visionTower: main,
            vocoder: RandomWeights(seed: seed, type: .float32, precision: precision))
    }
}

extension Decoder {
    /// Only the language model of a preset, with random weights in memory.
    ///
    /// - Parameter type: F32, F16, BF16 or a quantized type
    public static func random(
        _ preset: ModelPreset, type: ElementType, precision: Precision = .exact, seed: UInt64 = 1
    ) throws -> Decoder {
        try Decoder(RandomWeights(seed: seed, type: type, precision: precision), preset.language)
    }
}
