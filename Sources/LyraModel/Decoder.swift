import CKernels
import LyraTensor

/// The language model: Qwen2 as in Qwen2-VL. Immutable; the caches belong to the caller.
public struct Decoder: Sendable {
    public let configuration: DecoderConfiguration
    private let embeddings: Weight
    private let head: Weight
    var blocks: [DecoderBlock]
    private let finalNorm: [Float]
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

    /// Bytes of weights that decoding one token reads: every matrix once, the embedding's row left out.
    public var bytesPerToken: Int { head.byteCount + blocks.reduce(0) { $0 + $1.byteCount } }

    /// Rows of the embedding matrix. → [ids, hidden]
    ///
    /// - Throws: `LyraError.argument` for an id outside the vocabulary.
    public func embed(_ ids: some Collection<Int32>) throws -> Tensor {
        let hidden = configuration.hiddenSize
        return try Tensor([ids.count, hidden]) { out in
            for (row, id) in ids.enumerated() {
                guard id >= 0, Int(id) < embeddings.outputs else {
                    throw LyraError(.argument, "token \(id) is outside the model's vocabulary of \(embeddings.outputs)")
                }
                embeddings.copyRow(Int(id), to: out + row * hidden)
            }
        }
    }

    /// One layer over a few new positions. [rows, hidden] → [rows, hidden]
    func layer(
        _ index: Int, _ x: Tensor, positions: ArraySlice<Position>, cache: KeyValueCache, adapter: Int?
    ) throws -> Tensor {
        try blocks[index](x, rotation: rotary.tables(positions), cache: cache, adapter: adapter)
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

/// A prompt on its way through the decoder, layer by layer and inside a layer chunk by chunk: the hidden states of the
/// whole prompt stay, everything else is bounded by the chunk.
public struct Prefill {
    /// Rows of one step: enough to keep the matrix kernels busy, few enough that a step stays short.
    public static let chunkRows = 512

    private let positions: [Position]
    private var hidden: Tensor
    private var layer = 0
    private var row = 0
    private let layers: Int

    /// - Parameters:
    ///   - embeddings: [tokens, hidden], at least one row
    ///   - positions: one for each row
    public init(_ decoder: Decoder, embeddings: Tensor, positions: [Position]) throws {
        guard embeddings.rows == positions.count, !positions.isEmpty else {
            throw LyraError(.argument, "\(embeddings.rows) embeddings with \(positions.count) positions to prefill")
        }
        self.positions = positions
        hidden = embeddings
        layers = decoder.blocks.count
    }

    /// Token-layers computed, and in all.
    public var progress: (done: Int, total: Int) {
        (layer * positions.count + row, layers * positions.count)
    }

    public var isDone: Bool { layer == layers }

    /// Computes one chunk of one layer and appends its keys and values to that layer's cache.
    public mutating func step(_ decoder: Decoder, caches: [KeyValueCache], adapter: Int?) throws {
        guard !isDone else { return }
        let chunk = row..<min(row + Self.chunkRows, positions.count)
        let result = try decoder.layer(
            layer, hidden.rows(chunk), positions: positions[chunk], cache: caches[layer], adapter: adapter)
        try hidden.withMutableValues { values in
            result.withValues { (values + chunk.lowerBound * result.columns).update(from: $0, count: result.count) }
        }
        row = chunk.upperBound
        if row == positions.count { (layer, row) = (layer + 1, 0) }
    }

    /// The final-norm hidden row of the last position, [1, hidden], once done.
    public func lastRow(_ decoder: Decoder) throws -> Tensor {
        guard isDone else { throw LyraError(.state, "the prompt is not prefilled yet") }
        return try decoder.normalize(hidden.rows(positions.count - 1..<positions.count))
    }
}
