import LyraBase
import LyraFormats
import LyraModel

/// An adapter's configuration, in the terms of PEFT's LoraConfig.
public struct AdapterSettings: Sendable {
    /// The matrices of a decoder layer, all of which the published adapters update.
    public static let allModules = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]

    /// r: the rank of the updates, where `rankPattern` does not say otherwise.
    public var rank: Int
    /// lora_alpha: an update has the factor alpha / rank, or alpha / √rank with `usesRankStabilization`.
    public var alpha: Double
    /// lora_dropout: the probability with which training drops an element of a module's input.
    public var dropout = 0.0
    /// target_modules: ends of the names of the modules that are updated.
    public var targetModules = AdapterSettings.allModules
    /// use_rslora
    public var usesRankStabilization = false
    /// rank_pattern and alpha_pattern: other ranks and alphas by patterns of modules' names. The first match counts.
    public var rankPattern: [(pattern: String, rank: Int)] = []
    public var alphaPattern: [(pattern: String, alpha: Double)] = []
    /// modules_to_save: ends of the names of modules that the adapter replaces as a whole.
    public var wholeModules: [String] = []
    /// ensure_weight_tying: whether an output head that is tied to the embeddings follows the adapter's embeddings.
    public var keepsHeadTied = false
    /// base_model_name_or_path: the model that the adapter was trained on.
    public var baseModel: String?

    public init(rank: Int, alpha: Double) { (self.rank, self.alpha) = (rank, alpha) }

    /// Keys that choose modules, and that the settings do not have: a configuration without them would be of another
    /// adapter.
    private static let unsupportedKeys = [
        "exclude_modules", "layers_to_transform", "layers_pattern", "layer_replication", "target_parameters",
        "trainable_token_indices", "alora_invocation_tokens",
    ]

    /// The version of PEFT whose keys `json` has, all of them.
    static let formatVersion = "0.21.2"

    /// The content of adapter_config.json, with every key that PEFT writes, sorted as PEFT sorts them.
    package var json: JSONValue {
        func numbers(_ members: [(String, Double)]) -> JSONValue { .object(members.map { ($0.0, .number($0.1)) }) }
        func strings(_ values: [String]) -> JSONValue { .array(values.map { .string($0) }) }
        let absent = [
            "alora_invocation_tokens", "arrow_config", "auto_mapping", "corda_config", "eva_config", "exclude_modules",
            "kasa_config", "layer_replication", "layers_pattern", "layers_to_transform", "lora_ga_config",
            "megatron_config", "monteclora_config", "revision", "target_parameters", "trainable_token_indices",
            "use_bdlora", "velora_config",
        ]
        let members: [(String, JSONValue)] = [
            ("alpha_pattern", numbers(alphaPattern.map { ($0.pattern, $0.alpha) })),
            ("base_model_name_or_path", baseModel.map { .string($0) } ?? .null), ("bias", "none"),
            ("ensure_weight_tying", .bool(keepsHeadTied)), ("fan_in_fan_out", false), ("inference_mode", true),
            ("init_lora_weights", true), ("loftq_config", .object([])), ("lora_alpha", .number(alpha)),
            ("lora_bias", false), ("lora_dropout", .number(dropout)), ("megatron_core", "megatron.core"),
            ("modules_to_save", wholeModules.isEmpty ? .null : strings(wholeModules)), ("peft_type", "LORA"),
            ("peft_version", .string(Self.formatVersion)), ("qalora_group_size", 16), ("r", .number(Double(rank))),
            ("rank_pattern", numbers(rankPattern.map { ($0.pattern, Double($0.rank)) })),
            ("target_modules", strings(targetModules)), ("task_type", "CAUSAL_LM"), ("use_dora", false),
            ("use_qalora", false), ("use_rslora", .bool(usesRankStabilization)),
        ]
        return .object((members + absent.map { ($0, .null) }).sorted { $0.0 < $1.0 })
    }

    /// The settings as the loader reads them.
    ///
    /// - Throws: `LyraError` for settings that the loader refuses.
    func configuration() throws -> AdapterConfiguration {
        let source = "the adapter's settings"
        guard dropout >= 0, dropout < 1 else {
            throw LyraError(.argument, "\(source): lora_dropout is \(dropout); it can be 0 or more, and less than 1")
        }
        let text = NamedBytes(name: source, bytes: Array(try ExactJSON.text(json).utf8))
        let configuration = try text.decode(AdapterConfiguration.self)
        try configuration.validate(source)
        return configuration
    }
}

extension AdapterSettings {
    /// Reads adapter_config.json in an adapter's directory, to continue the adapter's training.
    ///
    /// - Throws: `LyraError.missing` if there is none; `.format` for what is not PEFT's configuration; `.unsupported`
    ///   for what lyra does not train.
    public init(directory: String) throws {
        let path = FileSystem.join(directory, "adapter_config.json")
        let bytes = try MappedFile.contents(path: path, limit: JSONFile.configurationLimit)
        let text = NamedBytes(name: path, bytes: bytes)
        // The loader's checks: LoRA of plain matrices, with the ranks and patterns that lyra computes.
        try text.decode(AdapterConfiguration.self).validate(path)
        let json = try text.json()
        for key in Self.unsupportedKeys {
            switch json[key] {
            case nil, .null?: continue
            case .array(let elements)? where elements.isEmpty: continue
            default:
                throw LyraError(
                    .unsupported,
                    "\(path): \(key) chooses other modules than lyra would write for the trained adapter; train one "
                        + "without it")
            }
        }
        func strings(_ key: String) throws -> [String] {
            guard let value = json[key] else { return [] }
            guard let elements = value.elements?.map(\.string), elements.allSatisfy({ $0 != nil }) else {
                throw LyraError(.unsupported, "\(path): \(key) must be a list of names of modules")
            }
            return elements.compactMap { $0 }
        }
        func pattern(_ key: String) -> [(String, Double)] {
            guard case .object(let members)? = json[key] else { return [] }
            return members.compactMap { name, value in value.number.map { (name, $0) } }
        }
        // The loader's checks passed, so both are numbers, and the ranks whole.
        self.init(rank: json["r"]?.number.flatMap { Int(exactly: $0) } ?? 0, alpha: json["lora_alpha"]?.number ?? 0)
        dropout = json["lora_dropout"]?.number ?? 0
        targetModules = try strings("target_modules")
        usesRankStabilization = json["use_rslora"]?.bool ?? false
        rankPattern = pattern("rank_pattern").compactMap { name, rank in Int(exactly: rank).map { (name, $0) } }
        alphaPattern = pattern("alpha_pattern")
        wholeModules = try strings("modules_to_save")
        keepsHeadTied = json["ensure_weight_tying"]?.bool ?? false
        baseModel = json["base_model_name_or_path"]?.string
    }
}
