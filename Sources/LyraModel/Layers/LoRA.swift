import Glibc
import LyraBase
import LyraTensor

/// The keys of PEFT's adapter_config.json that change the arithmetic.
struct AdapterConfiguration: Decodable {
    var rank: Int
    var alpha: Double
    var usesRankStabilization: Bool?
    var usesDora: Bool?
    var isTransposed: Bool?
    var bias: String?
    var kind: String?
    var rankPattern: [String: Double]?
    var alphaPattern: [String: Double]?

    enum CodingKeys: String, CodingKey {
        case rank = "r"
        case alpha = "lora_alpha"
        case usesRankStabilization = "use_rslora"
        case usesDora = "use_dora"
        case isTransposed = "fan_in_fan_out"
        case bias
        case kind = "peft_type"
        case rankPattern = "rank_pattern"
        case alphaPattern = "alpha_pattern"
    }

    /// - Throws: `LyraError` naming `source` for invalid numbers and for LoRA variants that lyra does not run.
    func validate(_ source: String) throws {
        try Bounds(source).check("r", rank, 1...65536)
        try Bounds(source).require(alpha.isFinite, "lora_alpha must be a number")
        let unsupported = [
            kind.flatMap { $0 == "LORA" ? nil : "peft_type \(shown($0))" }, usesDora == true ? "use_dora" : nil,
            isTransposed == true ? "fan_in_fan_out" : nil, bias.flatMap { $0 == "none" ? nil : "bias \(shown($0))" },
            rankPattern?.isEmpty == false ? "rank_pattern" : nil,
            alphaPattern?.isEmpty == false ? "alpha_pattern" : nil,
        ].compactMap { $0 }.first
        if let unsupported {
            throw LyraError(.unsupported, "\(source): adapters with \(unsupported) are not supported")
        }
    }

    /// Factor of x·Aᵀ·Bᵀ.
    var scale: Float { Float(alpha / (usesRankStabilization == true ? Double(rank).squareRoot() : Double(rank))) }
}

extension Decoder {
    /// Adds an adapter to the decoder's matrices; its index is the number of adapters added before.
    ///
    /// - Parameters:
    ///   - table: PEFT's names, `base_model.model.<module>.lora_A.weight`
    ///   - weights: the source of the same tensors, some of which training may change
    /// - Throws: `LyraError.format` if the adapter was made for another model: a matrix does not fit, or this decoder
    ///   has no such module.
    mutating func addAdapter(
        _ table: TensorTable, _ weights: any WeightSource, _ configuration: AdapterConfiguration
    ) throws {
        var used = 0
        for layer in layers.indices {
            for (module, path) in DecoderLayer.adaptable {
                let linear = layers[layer][keyPath: path].weight
                let (a, b) = Self.adapterNames(layer: layer, module)
                var update: LowRankUpdate?
                if table.contains(a) || table.contains(b) {
                    update = LowRankUpdate(
                        a: try weights.weight(a, [configuration.rank, linear.inputs]),
                        b: try weights.weight(b, [linear.outputs, configuration.rank]),
                        scale: configuration.scale)
                    used += 2
                }
                layers[layer][keyPath: path].adapters.append(update)
            }
        }
        guard used == table.names.count, used > 0 else {
            throw LyraError(
                .format,
                "\(table.origin): \(table.names.count - used) of \(table.names.count) tensors do not fit this model "
                    + "of \(layers.count) layers; the adapter was made for another model")
        }
    }

    /// The parameters of an adapter, under PEFT's names. None if there is no adapter with this index.
    func adapterParameters(_ index: Int) -> [Parameter] {
        layers.enumerated().flatMap { number, layer in
            DecoderLayer.adaptable.flatMap { module, path -> [Parameter] in
                let updates = layer[keyPath: path].adapters
                guard updates.indices.contains(index), let update = updates[index] else { return [] }
                let (a, b) = Self.adapterNames(layer: number, module)
                return [Parameter(a, update.a), Parameter(b, update.b)]
            }
        }
    }

    /// PEFT's names of the two matrices of an update.
    private static func adapterNames(layer: Int, _ module: String) -> (a: String, b: String) {
        let prefix = "base_model.model.model.layers.\(layer).\(module).lora_"
        return (prefix + "A.weight", prefix + "B.weight")
    }
}
