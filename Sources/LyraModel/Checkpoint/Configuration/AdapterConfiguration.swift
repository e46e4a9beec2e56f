import Glibc
import LyraBase

/// The parts of PEFT's adapter_config.json that change the arithmetic.
package struct AdapterConfiguration: Decodable {
    private var rank: Int
    private var alpha: Double
    private var usesRankStabilization: Bool?
    private var usesDora: Bool?
    private var isTransposed: Bool?
    private var bias: String?
    private var kind: String?
    /// Ranks of the modules that differ from `rank`, and scales that differ from `alpha`.
    private var rankPattern: ModulePattern?
    private var alphaPattern: ModulePattern?
    /// Ends of the names of modules that the adapter replaces as a whole.
    private var wholeModules: [String]?
    private var tiesWeights: Bool?

    private enum CodingKeys: String, CodingKey {
        case rank = "r"
        case alpha = "lora_alpha"
        case usesRankStabilization = "use_rslora"
        case usesDora = "use_dora"
        case isTransposed = "fan_in_fan_out"
        case bias
        case kind = "peft_type"
        case rankPattern = "rank_pattern"
        case alphaPattern = "alpha_pattern"
        case wholeModules = "modules_to_save"
        case tiesWeights = "ensure_weight_tying"
    }

    private static let ranks = 1...65536

    /// - Throws: `LyraError` naming `source` for invalid numbers and for LoRA variants that lyra does not run.
    package func validate(_ source: String) throws {
        let bounds = Bounds(source)
        try bounds.check("r", rank, Self.ranks)
        try bounds.require(alpha.isFinite, "lora_alpha must be a number")
        let strange = [
            kind.flatMap { $0 == "LORA" ? nil : "peft_type \(shown($0))" },
            usesDora == true ? "use_dora (DoRA)" : nil,
            isTransposed == true ? "fan_in_fan_out" : nil, bias.flatMap { $0 == "none" ? nil : "bias \(shown($0))" },
        ].compactMap { $0 }.first
        if let strange { throw LyraError(.unsupported, "\(source): adapters with \(strange) are not supported") }
        for (name, pattern) in [("rank_pattern", rankPattern), ("alpha_pattern", alphaPattern)] {
            guard let key = pattern?.unsupportedKey else { continue }
            throw LyraError(
                .unsupported,
                "\(source): \(name) has the regular expression \(shown(key)); lyra matches module names, in which "
                    + "only . has a meaning")
        }
        for value in rankPattern?.values ?? [] {
            guard let rank = Int(exactly: value), Self.ranks.contains(rank) else {
                throw LyraError(
                    .format,
                    "\(source): rank_pattern has the rank \(value); it must be a whole number in "
                        + "\(Self.ranks.lowerBound)…\(Self.ranks.upperBound)")
            }
        }
    }

    /// The rank of a module's update.
    ///
    /// - Parameter module: its name in the published layout: `model.layers.0.self_attn.q_proj`
    package func rank(of module: String) -> Int {
        rankPattern?.value(of: Self.names(of: module)).flatMap { Int(exactly: $0) } ?? rank
    }

    /// Factor of x·Aᵀ·Bᵀ of a module: alpha / r, or alpha / √r with rank stabilization.
    package func scale(of module: String) -> Float {
        let alpha = alphaPattern?.value(of: Self.names(of: module)) ?? alpha
        let rank = Double(rank(of: module))
        return Float(alpha / (usesRankStabilization == true ? rank.squareRoot() : rank))
    }

    /// The names that a module can have had in training: the published one, and that of transformers since 4.52.
    private static func names(of module: String) -> [String] { [module, ParameterNames.newer(module)] }

    /// Whether an output head that is tied to the embeddings follows the adapter's embeddings.
    var keepsHeadTied: Bool { tiesWeights == true }

    /// Entries of `modules_to_save`.
    var wholeModuleNames: [String] { wholeModules ?? [] }

    /// Whether an entry of `modules_to_save` names this tensor's module or one around it, as PEFT matches: by the end
    /// of the module's name.
    package func replaces(_ tensor: String) -> Bool {
        var module = tensor[...]
        while let dot = module.lastIndex(of: ".") {
            module = module[..<dot]
            if wholeModuleNames.contains(where: { !$0.isEmpty && module.hasSuffix($0) }) { return true }
        }
        return false
    }
}
