import LyraBase

/// The keys of a checkpoint's config.json that lyra reads: of Lyra (model_type `Lyra_Qwen2VL_SpeechGenerator`), or of
/// plain Qwen2-VL (model_type `qwen2_vl`).
public struct LyraConfiguration: Decodable, Sendable {
    public var language: DecoderConfiguration
    /// `mm_speech_tower`: directory of the Whisper encoder; nil if the model takes no speech.
    public var speechTower: String?
    /// `mm_vision_tower`: directory of the vision tower; `.`, the checkpoint itself, for a plain Qwen2-VL with a
    /// `vision_config`; nil if the model takes no images.
    public var visionTower: String?
    /// Whether the checkpoint is a plain Qwen2-VL, whose config.json names no tower.
    public var isPlainQwen2VL = false
    /// `mm_audio_tower`: file of the sound tower; nil if the model takes no sound other than speech.
    public var soundTower: String?
    /// `speech_encoder_ds_rate`: encoder positions for each token.
    public var speechDownsampling: Int
    /// `speech_norm`: whether each speech token is scaled to length 1.
    public var normalizesSpeech: Bool
    /// `speech_projector_hidden_size`: width of the speech projector's hidden layer; 2048 in published checkpoints.
    public var speechProjectorInner = SpeechProjector.publishedInner
    public var generator: SpeechGeneratorConfiguration?
    public var endTokens: [Int32]
    /// `compress_gap` and `keep_rate`: where the model prunes media tokens; nil for nowhere.
    public var extraction: ExtractionSchedule?
    /// `align_temperature`: τ of the cross-modality regularizer in training.
    public var alignmentTemperature = LyraConfiguration.publishedAlignmentTemperature

    private static let publishedAlignmentTemperature = 0.06

    enum CodingKeys: String, CodingKey {
        case compress_gap, keep_rate, mm_speech_tower, mm_vision_tower, mm_audio_tower, mm_projector_type,
            speech_encoder_ds_rate, speech_norm, speech_projector_hidden_size, speech_generator_type, eos_token_id,
            text_config, vision_config, model_type, align_temperature
    }

    /// The checkpoint's own directory, as the name of a tower.
    package static let ownDirectory = "."

    public init(from decoder: any Swift.Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        language = try DecoderConfiguration(from: decoder)
        speechTower = try container.decodeIfPresent(String.self, forKey: .mm_speech_tower)
        let named = try container.decodeIfPresent(String.self, forKey: .mm_vision_tower)
        isPlainQwen2VL = try container.decodeIfPresent(String.self, forKey: .model_type) == "qwen2_vl"
        let isInside = try isPlainQwen2VL && container.decodeIfPresent(JSONObject.self, forKey: .vision_config) != nil
        visionTower = named ?? (isInside ? Self.ownDirectory : nil)
        soundTower = try container.decodeIfPresent(String.self, forKey: .mm_audio_tower)
        let projector = try container.decodeIfPresent(String.self, forKey: .mm_projector_type) ?? "identity"
        guard visionTower == nil || projector == "identity" else {
            throw DecodingError.dataCorruptedError(
                forKey: .mm_projector_type, in: container,
                debugDescription: "a vision projector of type \(projector) is not supported; identity is")
        }
        speechDownsampling = try container.decodeIfPresent(Int.self, forKey: .speech_encoder_ds_rate) ?? 5
        normalizesSpeech = try container.decodeIfPresent(Bool.self, forKey: .speech_norm) ?? false
        speechProjectorInner =
            try container.decodeIfPresent(Int.self, forKey: .speech_projector_hidden_size)
            ?? SpeechProjector.publishedInner
        alignmentTemperature =
            try container.decodeIfPresent(Double.self, forKey: .align_temperature)
            ?? Self.publishedAlignmentTemperature
        generator =
            try container.decodeIfPresent(String.self, forKey: .speech_generator_type) == nil
            ? nil : SpeechGeneratorConfiguration(from: decoder)
        endTokens =
            try container.decodeIfPresent(OneOrMany.self, forKey: .eos_token_id)?.values
            ?? container.decodeIfPresent(EndTokens.self, forKey: .text_config)?.eos_token_id?.values ?? []
        if let gap = try container.decodeIfPresent(Int.self, forKey: .compress_gap),
            let keep = try container.decodeIfPresent(Float.self, forKey: .keep_rate)
        {
            extraction = ExtractionSchedule(gap: gap, keep: keep, layers: language.layers)
        }
    }

    public init(
        language: DecoderConfiguration, speechTower: String?, visionTower: String? = nil,
        soundTower: String? = nil, speechDownsampling: Int, normalizesSpeech: Bool,
        generator: SpeechGeneratorConfiguration?, endTokens: [Int32]
    ) {
        self.language = language
        self.speechTower = speechTower
        self.visionTower = visionTower
        self.soundTower = soundTower
        self.speechDownsampling = speechDownsampling
        self.normalizesSpeech = normalizesSpeech
        self.generator = generator
        self.endTokens = endTokens
    }

    /// - Throws: `LyraError.format` naming `source` for an invalid value.
    public func validate(_ source: String) throws {
        try language.validate(source)
        try Bounds(source).check("speech_encoder_ds_rate", speechDownsampling, 1...1000)
        try Bounds(source).check("speech_projector_hidden_size", speechProjectorInner, 1...1 << 20)
        try Bounds(source).require(
            alignmentTemperature.isFinite && alignmentTemperature > 0, "align_temperature must be a number above 0")
        try generator?.validate(source)
    }
}

/// Qwen2's text decoder as in Qwen2-VL.
public struct DecoderConfiguration: Decodable, Sendable {
    public var hiddenSize: Int
    public var layers: Int
    public var heads: Int
    public var kvHeads: Int
    public var intermediateSize: Int
    public var vocabularySize: Int
    public var rmsEpsilon: Float
    public var ropeTheta: Double
    /// Frequency pairs for time, height and width; their sum is half a head.
    public var mropeSections: [Int]
    public var tiesEmbeddings: Bool
    public var contextLength: Int

    public var headDim: Int { hiddenSize / heads }

    enum CodingKeys: String, CodingKey {
        case hidden_size, num_hidden_layers, num_attention_heads, num_key_value_heads, intermediate_size, vocab_size
        case rms_norm_eps, rope_theta, rope_scaling, rope_parameters, tie_word_embeddings, max_position_embeddings
        case text_config
    }

    /// Reads the keys at the top level or, as in newer files, under `text_config`; position keys also in `rope_scaling`
    /// or `rope_parameters`. Duplicate keys must agree.
    public init(from decoder: any Swift.Decoder) throws {
        let outer = try decoder.container(keyedBy: CodingKeys.self)
        let inner = try outer.decodeIfPresent(JSONObject.self, forKey: .text_config)
            .map { _ in try outer.nestedContainer(keyedBy: CodingKeys.self, forKey: .text_config) }
        let places = [outer] + (inner.map { [$0] } ?? [])
        func find<T: Decodable & Equatable>(_ type: T.Type, _ key: CodingKeys) throws -> T? {
            try Self.same(places.compactMap { try $0.decodeIfPresent(type, forKey: key) }, key, in: outer)
        }
        func need(_ key: CodingKeys) throws -> Int { try find(Int.self, key) ?? outer.decode(Int.self, forKey: key) }
        hiddenSize = try need(.hidden_size)
        layers = try need(.num_hidden_layers)
        heads = try need(.num_attention_heads)
        kvHeads = try find(Int.self, .num_key_value_heads) ?? heads
        intermediateSize = try need(.intermediate_size)
        vocabularySize = try need(.vocab_size)
        rmsEpsilon = try find(Float.self, .rms_norm_eps) ?? 1e-6
        let ropes = try places.flatMap { place in
            try [CodingKeys.rope_scaling, .rope_parameters].compactMap {
                try place.decodeIfPresent(RopeParameters.self, forKey: $0)
            }
        }.flatMap { [$0] + $0.layers }
        let thetas = try places.compactMap { try $0.decodeIfPresent(Double.self, forKey: .rope_theta) }
        ropeTheta = try Self.same(thetas + ropes.compactMap(\.theta), .rope_theta, in: outer) ?? 1e6
        mropeSections = try Self.same(ropes.compactMap(\.sections), .rope_scaling, in: outer) ?? []
        tiesEmbeddings = try find(Bool.self, .tie_word_embeddings) ?? false
        contextLength = try find(Int.self, .max_position_embeddings) ?? 32768
    }

    /// The value that all places agree on; nil if there are none.
    private static func same<T: Equatable>(
        _ values: [T], _ key: CodingKeys, in container: KeyedDecodingContainer<CodingKeys>
    ) throws -> T? {
        guard let other = values.first(where: { $0 != values[0] }) else { return values.first }
        throw DecodingError.dataCorruptedError(
            forKey: key, in: container,
            debugDescription: "conflicting values: \(values[0]) in one place and \(other) in another")
    }

    public init(
        hiddenSize: Int, layers: Int, heads: Int, kvHeads: Int, intermediateSize: Int, vocabularySize: Int,
        rmsEpsilon: Float = 1e-6, ropeTheta: Double = 1e6, mropeSections: [Int], tiesEmbeddings: Bool,
        contextLength: Int = 32768
    ) {
        self.hiddenSize = hiddenSize
        self.layers = layers
        self.heads = heads
        self.kvHeads = kvHeads
        self.intermediateSize = intermediateSize
        self.vocabularySize = vocabularySize
        self.rmsEpsilon = rmsEpsilon
        self.ropeTheta = ropeTheta
        self.mropeSections = mropeSections
        self.tiesEmbeddings = tiesEmbeddings
        self.contextLength = contextLength
    }

    func validate(_ source: String) throws {
        let bounds = Bounds(source)
        try bounds.check("hidden_size", hiddenSize, 2...1 << 20)
        try bounds.check("num_hidden_layers", layers, 1...1024)
        try bounds.check("num_attention_heads", heads, 1...4096)
        try bounds.check("num_key_value_heads", kvHeads, 1...heads)
        try bounds.check("intermediate_size", intermediateSize, 1...1 << 22)
        try bounds.check("vocab_size", vocabularySize, 1...1 << 24)
        try bounds.check("max_position_embeddings", contextLength, 1...1 << 30)
        try bounds.require(
            hiddenSize % heads == 0 && headDim % 2 == 0, "hidden_size must be an even multiple of the heads")
        try bounds.require(heads % kvHeads == 0, "num_key_value_heads must divide num_attention_heads")
        try bounds.require(rmsEpsilon >= 0 && rmsEpsilon < 1, "rms_norm_eps must be in 0..<1")
        try bounds.require(ropeTheta >= 1 && ropeTheta <= 1e12, "rope_theta must be in 1…1e12")
        try bounds.require(
            mropeSections.isEmpty
                || mropeSections.count == 3 && mropeSections.allSatisfy { (0...headDim).contains($0) }
                    && mropeSections.reduce(0, +) == headDim / 2,
            "mrope_section must be three counts whose sum is \(headDim / 2), half a head")
    }
}

/// `ctc_decoder_config` "(layers,dim,heads,inner)" and the fields beside it.
public struct SpeechGeneratorConfiguration: Decodable, Sendable {
    public var layers: Int
    public var dim: Int
    public var heads: Int
    public var inner: Int
    /// Positions for each hidden state of the language model.
    public var upsampling: Int
    /// Number of speech units; the next id is CTC's blank.
    public var units: Int
    /// `speech_generator_context_rows`: hidden states of the prompt that the generator reads before an answer's, but
    /// does not speak. The published generator reads none: the positions of an answer's first token then attend to
    /// equal values, so all get the same scores and can emit only one unit.
    public var contextRows = 0

    enum CodingKeys: String, CodingKey {
        case ctc_decoder_config, ctc_upsample_factor, unit_vocab_size, speech_generator_context_rows
    }

    public init(from decoder: any Swift.Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        let text = try container.decode(String.self, forKey: .ctc_decoder_config)
        let numbers = text.split(whereSeparator: { "(), ".contains($0) }).map { Int($0) }
        guard numbers.count == 4, let layers = numbers[0], let dim = numbers[1], let heads = numbers[2],
            let inner = numbers[3]
        else {
            throw DecodingError.dataCorruptedError(
                forKey: .ctc_decoder_config, in: container,
                debugDescription: "expected \"(layers,dim,heads,inner)\", not \"\(text)\"")
        }
        self.layers = layers
        self.dim = dim
        self.heads = heads
        self.inner = inner
        upsampling = try container.decodeIfPresent(Int.self, forKey: .ctc_upsample_factor) ?? 25
        units = try container.decodeIfPresent(Int.self, forKey: .unit_vocab_size) ?? 1000
        contextRows = try container.decodeIfPresent(Int.self, forKey: .speech_generator_context_rows) ?? 0
    }

    public init(layers: Int, dim: Int, heads: Int, inner: Int, upsampling: Int = 25, units: Int = 1000) {
        self.layers = layers
        self.dim = dim
        self.heads = heads
        self.inner = inner
        self.upsampling = upsampling
        self.units = units
    }

    /// What each size can be.
    package enum Limits {
        package static let layers = 1...256
        package static let dim = 2...1 << 20
        package static let heads = 1...4096
        package static let inner = 1...1 << 22
        package static let upsampling = 1...1000
        package static let units = 1...1 << 20
        /// The template ends every prompt with more text tokens than these, which no extractor removes.
        package static let contextRows = 0...4
    }

    func validate(_ source: String) throws {
        let bounds = Bounds(source)
        try bounds.check("ctc_decoder_config layers", layers, Limits.layers)
        try bounds.check("ctc_decoder_config dim", dim, Limits.dim)
        try bounds.check("ctc_decoder_config heads", heads, Limits.heads)
        try bounds.check("ctc_decoder_config inner", inner, Limits.inner)
        try bounds.check("ctc_upsample_factor", upsampling, Limits.upsampling)
        try bounds.check("unit_vocab_size", units, Limits.units)
        try bounds.check("speech_generator_context_rows", contextRows, Limits.contextRows)
        try bounds.require(hasEvenHeads, "the generator's dim must be an even multiple of its heads")
    }

    /// Whether each head has the same width, which RoPE can split into pairs.
    package var hasEvenHeads: Bool { heads > 0 && dim % heads == 0 && dim / heads % 2 == 0 }
}

/// The end tokens of a `text_config`.
private struct EndTokens: Decodable {
    var eos_token_id: OneOrMany?
}

/// `eos_token_id` as either `7` or `[7, 8]`.
struct OneOrMany: Decodable {
    var values: [Int32]

    init(from decoder: any Swift.Decoder) throws {
        let container = try decoder.singleValueContainer()
        values = try (try? container.decode([Int32].self)) ?? [container.decode(Int32.self)]
    }
}

/// Checks the numbers of a configuration file; the error names the file.
struct Bounds {
    let source: String

    init(_ source: String) { self.source = source }

    func check(_ name: String, _ value: Int, _ range: ClosedRange<Int>) throws {
        let (least, most) = (range.lowerBound, range.upperBound)
        try require(range.contains(value), "\(name) is \(value); it must be in \(least)…\(most)")
    }

    func require(_ condition: Bool, _ message: String) throws {
        guard condition else { throw LyraError(.format, "\(source): \(message)") }
    }
}
