import LyraTensor

extension Decoder {
    /// Adds an adapter whose updates the caller makes, one for each adaptable matrix of the layers.
    ///
    /// - Parameter update: makes the update of a matrix: `model.layers.0.self_attn.q_proj`
    /// - Returns: the adapter's index
    package mutating func addAdapter(
        _ update: (_ module: String, _ weight: Weight) throws -> LowRankUpdate
    ) rethrows -> Int {
        let index = embeddings.adapterCount
        for layer in layers.indices {
            for (module, path) in DecoderLayer.adaptable {
                let weight = layers[layer][keyPath: path].weight
                layers[layer][keyPath: path].adapters.append(try update("model.layers.\(layer).\(module)", weight))
            }
            for (_, path) in DecoderLayer.norms { layers[layer][keyPath: path].append(nil) }
        }
        embeddings.append(nil)
        head.append(nil)
        finalNorm.append(nil)
        return index
    }
}
