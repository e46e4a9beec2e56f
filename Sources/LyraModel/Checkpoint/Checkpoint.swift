import LyraBase
import LyraTensor
import LyraText

/// All parts of one opened model: weights only, immutable, shared by any number of sessions and threads.
public struct Checkpoint: Sendable {
    public let configuration: LyraConfiguration
    public let decoder: Decoder
    public let tokenizer: Tokenizer
    /// Defaults from generation_config.json; a session's options take precedence.
    public let generationDefaults: GenerationDefaults
    /// Names of the adapters in index order. Those of a directory are sorted: "long_speech", "speech", …; after
    /// them stand those of `CheckpointOptions.adapterDirectories` that the checkpoint lacks.
    public let adapters: [String]
    public let speechNetworks: Part<SpeechNetworks>
    public let visionNetworks: Part<VisionNetworks>
    public let soundNetworks: Part<SoundNetworks>
    public let generator: SpeechGenerator?
    public let vocoder: Part<Vocoder>
    /// Size of each part, for `inspect` and `info`.
    public let inventory: [PartSize]

    package init(
        configuration: LyraConfiguration, decoder: Decoder, tokenizer: Tokenizer,
        generationDefaults: GenerationDefaults = GenerationDefaults(), adapters: [String] = [],
        speechNetworks: Part<SpeechNetworks>, visionNetworks: Part<VisionNetworks>,
        soundNetworks: Part<SoundNetworks>, generator: SpeechGenerator?, vocoder: Part<Vocoder>,
        inventory: [PartSize] = []
    ) {
        (self.configuration, self.decoder, self.tokenizer) = (configuration, decoder, tokenizer)
        (self.generationDefaults, self.adapters, self.inventory) = (generationDefaults, adapters, inventory)
        (self.speechNetworks, self.visionNetworks) = (speechNetworks, visionNetworks)
        (self.soundNetworks, self.generator, self.vocoder) = (soundNetworks, generator, vocoder)
    }

    /// A part that a checkpoint can lack. The reason for its absence becomes an error when something needs the part.
    public enum Part<Network: Sendable>: Sendable {
        case present(Network)
        case absent(LyraError)

        /// - Throws: the reason for the part's absence.
        public func get() throws -> Network {
            switch self {
            case .present(let network): return network
            case .absent(let reason): throw reason
            }
        }

        public var isPresent: Bool { if case .present = self { true } else { false } }
    }

    /// Number of all parameters, and bytes of all tensors. `Int.max` on overflow: the tensors of a file can overlap.
    public var totalSize: (parameters: Int, bytes: Int) {
        inventory.reduce((0, 0)) { ($0.0.saturatingAdding($1.parameters), $0.1.saturatingAdding($1.bytes)) }
    }

    /// One part's name, place and size.
    public struct PartSize: Sendable {
        public var name: String
        public var source: String
        public var parameters: Int
        public var bytes: Int
        /// Number of tensors of each element type.
        public var types: [(type: ElementType, tensors: Int)]
    }

    /// The index of the adapter called `name`, with or without "_lora".
    public func adapterIndex(_ name: String) -> Int? {
        index(ofBytes: name) ?? index(ofBytes: Checkpoint.adapterName(directory: name))
    }

    /// Compares directory names byte by byte, because Unicode equality would match distinct names.
    private func index(ofBytes name: String) -> Int? {
        adapters.firstIndex { $0.utf8.elementsEqual(name.utf8) }
    }

    /// The adapter's name for its directory: "speech" for "speech_lora".
    package static func adapterName(directory: String) -> String {
        directory.hasSuffix("_lora") ? String(directory.dropLast(5)) : directory
    }
}

/// generation_config.json: the checkpoint's sampling defaults.
public struct GenerationDefaults: Decodable, Sendable {
    public var samples: Bool
    public var temperature: Float
    public var topK: Int
    public var topP: Float
    public var repetitionPenalty: Float
    /// Tokens that end an answer. If empty, config.json and the chat template determine them.
    public var endTokens: [Int32]

    enum CodingKeys: String, CodingKey {
        case do_sample, temperature, top_k, top_p, repetition_penalty, eos_token_id
    }

    /// Greedy sampling, for a checkpoint without the file.
    public init() {
        (samples, temperature, topK, topP, repetitionPenalty, endTokens) = (false, 1, 0, 1, 1, [])
    }

    public init(from decoder: any Swift.Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        samples = try container.decodeIfPresent(Bool.self, forKey: .do_sample) ?? false
        temperature = try container.decodeIfPresent(Float.self, forKey: .temperature) ?? 1
        topK = try container.decodeIfPresent(Int.self, forKey: .top_k) ?? 0
        topP = try container.decodeIfPresent(Float.self, forKey: .top_p) ?? 1
        repetitionPenalty = try container.decodeIfPresent(Float.self, forKey: .repetition_penalty) ?? 1
        endTokens = try container.decodeIfPresent(OneOrMany.self, forKey: .eos_token_id)?.values ?? []
    }

    func validate(_ source: String) throws {
        let bounds = Bounds(source)
        try bounds.require(temperature >= 0 && temperature.isFinite, "temperature must be a number of at least 0")
        try bounds.check("top_k", topK, 0...Int(Int32.max))
        try bounds.require(topP >= 0 && topP <= 1, "top_p must be in 0…1")
        try bounds.require(
            repetitionPenalty > 0 && repetitionPenalty.isFinite, "repetition_penalty must be a number above 0")
    }
}
