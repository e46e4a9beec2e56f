import LyraBase
import LyraTensor

/// The language model: Qwen2 as in Qwen2-VL. Immutable; the caller owns the caches.
public struct Decoder: Sendable {
    public let configuration: DecoderConfiguration
    var embeddings: Replaceable<Weight>
    var head: Replaceable<Weight>
    var layers: [DecoderLayer]
    var finalNorm: Replaceable<RMSNorm>
    /// Adapters whose embeddings are their output head too.
    var adaptersWithTiedHead: Set<Int> = []
    private let rotary: RotaryEmbedding

    package init(
        _ source: any WeightSource, _ configuration: DecoderConfiguration, progress: () throws -> Void = {}
    ) throws {
        self.configuration = configuration
        let (vocabulary, hidden) = (configuration.vocabularySize, configuration.hiddenSize)
        let embeddings = try source.weight("model.embed_tokens.weight", [vocabulary, hidden])
        self.embeddings = Replaceable(embeddings)
        head = Replaceable(
            configuration.tiesEmbeddings ? embeddings : try source.weight("lm_head.weight", [vocabulary, hidden]))
        let shape = DecoderLayer.Shape(
            hidden: hidden, heads: configuration.heads, kvHeads: configuration.kvHeads,
            inner: configuration.intermediateSize, epsilon: configuration.rmsEpsilon)
        layers = try (0..<configuration.layers).map { layer in
            try progress()
            return try DecoderLayer(source.under("model.layers.\(layer)."), shape)
        }
        finalNorm = Replaceable(try RMSNorm(source, "model.norm", hidden, epsilon: configuration.rmsEpsilon))
        rotary = RotaryEmbedding(
            headDim: configuration.headDim, theta: configuration.ropeTheta, sections: configuration.mropeSections)
    }

    /// An empty cache for each layer.
    public func makeCaches(type: KeyValueType = .float32) -> [KeyValueCache] {
        layers.map { _ in KeyValueCache(kvHeads: configuration.kvHeads, headDim: configuration.headDim, type: type) }
    }

    /// Bytes of the caches, given the number of rows in each layer. `Int.max` on overflow.
    public func cacheBytes(rows: some Sequence<Int>, type: KeyValueType) -> Int {
        rows.reduce(0) {
            $0.saturatingAdding(
                KeyValueCache.byteCount(
                    rows: $1, kvHeads: configuration.kvHeads, headDim: configuration.headDim, type: type))
        }
    }

    public var layerCount: Int { layers.count }

    /// Bytes of weights read to decode one token: every matrix, but not the embedding row.
    public var bytesPerToken: Int { head.base.byteCount + layers.reduce(0) { $0 + $1.byteCount } }

    /// Calls `body` with every matrix, including the adapters', in a fixed order.
    func forEachWeight(_ body: (Weight) -> Void) {
        for weight in embeddings.all + head.all { body(weight) }
        for layer in layers {
            for (_, path) in DecoderLayer.adaptable {
                let linear = layer[keyPath: path]
                body(linear.weight)
                for case let update? in linear.adapters {
                    body(update.a)
                    body(update.b)
                }
            }
        }
    }

    /// Token embeddings. → [ids, hidden]
    ///
    /// - Throws: `LyraError.argument` for an id outside the vocabulary.
    public func embed(_ ids: some Collection<Int32>, adapter: Int? = nil) throws -> Tensor {
        let embeddings = embeddings(adapter)
        if let unknown = ids.first(where: { $0 < 0 || Int($0) >= embeddings.outputs }) {
            throw LyraError(.argument, "token \(unknown) is outside the model's vocabulary of \(embeddings.outputs)")
        }
        return try embeddings.gather(ids)
    }

    /// RoPE rotation of queries and keys at these positions.
    func rotation(_ positions: some Collection<Position>) throws -> Rotation { try rotary(positions) }

    /// Runs one token through all layers. → its hidden state after the final norm, [1, hidden]
    public func decode(_ id: Int32, position: Position, caches: [KeyValueCache], adapter: Int?) throws -> Tensor {
        let rotation = try rotation([position])
        var x = try embed([id], adapter: adapter)
        for (layer, cache) in zip(layers, caches) {
            x = try layer(x, rotation: rotation, cache: cache, adapters: RowAdapters(adapter)).output
            try cache.quantizeOlderPages()
        }
        return try normalize(x, adapter: adapter)
    }

    /// The final norm. [rows, hidden] → [rows, hidden]
    func normalize(_ x: Tensor, adapter: Int?) throws -> Tensor { try finalNorm(adapter)(x) }

    /// The gradient of `logits` with respect to its hidden states; adds that of the output head if it is trained.
    package func propagateHead(_ gradient: Tensor, _ normed: Tensor, adapter: Int?) throws -> Tensor {
        try head(adapter).addGradient(gradient, x: normed)
        return try head(adapter).transposedProduct(gradient)
    }

    /// Scores of all tokens, from hidden states after the final norm. [rows, hidden] → [rows, vocabulary]
    public func logits(_ normed: Tensor, adapter: Int? = nil) throws -> Tensor { try head(adapter).product(normed) }
}

extension Decoder {
    /// All parameters under their checkpoint names. An output head tied to the embeddings is not listed again.
    public var parameters: [Parameter] {
        [Parameter("model.embed_tokens.weight", embeddings.base)]
            + layers.parameters(under: "model.layers")
            + finalNorm.base.parameters(under: "model.norm")
            + (configuration.tiesEmbeddings ? [] : [Parameter("lm_head.weight", head.base)])
    }
}
