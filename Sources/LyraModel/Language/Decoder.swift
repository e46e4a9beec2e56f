import CKernels
import LyraBase
import LyraTensor

/// The language model: Qwen2 as in Qwen2-VL. Immutable; the caches belong to the caller.
public struct Decoder: Sendable {
    public let configuration: DecoderConfiguration
    private let embeddings: Weight
    private let head: Weight
    var blocks: [DecoderBlock]
    private let finalNorm: Tensor
    private let rotary: RotaryEmbedding

    init(_ source: any WeightSource, _ configuration: DecoderConfiguration, progress: () throws -> Void) throws {
        self.configuration = configuration
        let (vocabulary, hidden) = (configuration.vocabularySize, configuration.hiddenSize)
        embeddings = try source.weight("model.embed_tokens.weight", [vocabulary, hidden])
        head = configuration.tiesEmbeddings ? embeddings : try source.weight("lm_head.weight", [vocabulary, hidden])
        let shape = DecoderBlock.Shape(
            hidden: hidden, heads: configuration.heads, kvHeads: configuration.kvHeads,
            inner: configuration.intermediateSize, epsilon: configuration.rmsEpsilon)
        blocks = try (0..<configuration.layers).map { layer in
            try progress()
            return try DecoderBlock(source.under("model.layers.\(layer)."), shape)
        }
        finalNorm = try source.floats("model.norm.weight", [hidden])
        rotary = RotaryEmbedding(
            headDim: configuration.headDim, theta: configuration.ropeTheta, sections: configuration.mropeSections)
    }

    /// An empty cache for each layer.
    public func makeCaches(type: KeyValueType = .float32) -> [KeyValueCache] {
        blocks.map { _ in KeyValueCache(kvHeads: configuration.kvHeads, headDim: configuration.headDim, type: type) }
    }

    /// Bytes of caches with so many rows in each layer.
    public func cacheBytes(rows: some Sequence<Int>, type: KeyValueType) -> Int {
        rows.reduce(0) {
            $0
                + KeyValueCache.byteCount(
                    rows: $1, kvHeads: configuration.kvHeads, headDim: configuration.headDim, type: type)
        }
    }

    public var layerCount: Int { blocks.count }

    /// Bytes of weights that decoding one token reads: every matrix once, the embedding's row left out.
    public var bytesPerToken: Int { head.byteCount + blocks.reduce(0) { $0 + $1.byteCount } }

    /// Visits every matrix, adapters' too, in a fixed order.
    func forEachWeight(_ body: (Weight) -> Void) {
        body(embeddings)
        body(head)
        for block in blocks {
            for (_, path) in DecoderBlock.adaptable {
                let linear = block[keyPath: path]
                body(linear.weight)
                for case let adapter? in linear.adapters {
                    body(adapter.a)
                    body(adapter.b)
                }
            }
        }
    }

    /// Rows of the embedding matrix. → [ids, hidden]
    ///
    /// - Throws: `LyraError.argument` for an id outside the vocabulary.
    public func embed(_ ids: some Collection<Int32>) throws -> Tensor {
        let hidden = configuration.hiddenSize
        return try Tensor([ids.count, hidden]) { out in
            for (row, id) in ids.enumerated() {
                if row % 1024 == 0 { try Interruption.check() }
                guard id >= 0, Int(id) < embeddings.outputs else {
                    throw LyraError(.argument, "token \(id) is outside the model's vocabulary of \(embeddings.outputs)")
                }
                embeddings.copyRow(Int(id), to: out + row * hidden)
            }
        }
    }

    /// One layer over a few new positions. [rows, hidden] → [rows, hidden]
    ///
    /// - Parameter queriesOf: rows of `x` whose rotated queries are wanted as well: [count, heads · headDim]
    func layer(
        _ index: Int, _ x: Tensor, positions: some Collection<Position>, cache: KeyValueCache, adapter: Int?,
        queriesOf asking: [Int] = []
    ) throws -> (output: Tensor, queries: Tensor?) {
        let rotation = try rotary.tables(positions)
        let attended = try blocks[index].attention(
            x, rotation: rotation, cache: cache, adapter: adapter, queriesOf: asking)
        return (try blocks[index].finish(x, attended.output, adapter: adapter), attended.queries)
    }

    /// One decoded token through all layers. → its final-norm hidden row, [1, hidden]
    public func decode(_ id: Int32, position: Position, caches: [KeyValueCache], adapter: Int?) throws -> Tensor {
        let rotation = try rotary.tables([position])
        var x = try embed([id])
        for (block, cache) in zip(blocks, caches) {
            x = try block(x, rotation: rotation, cache: cache, adapter: adapter)
        }
        return try normalize(x)
    }

    /// The final norm. [rows, hidden] → [rows, hidden]
    func normalize(_ x: Tensor) throws -> Tensor {
        try x.rmsNormalized(weight: finalNorm, epsilon: configuration.rmsEpsilon)
    }

    /// Scores of every token after normed rows. [rows, hidden] → [rows, vocabulary]
    public func logits(_ normed: Tensor) throws -> Tensor { try head.multiply(normed) }
}
