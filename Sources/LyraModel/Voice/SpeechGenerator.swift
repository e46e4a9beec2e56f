import LyraTensor

/// Speech units from the language model's hidden rows (section "streaming speech generator" of arXiv 2412.09501): each
/// row becomes 25 positions of a small causal Qwen2 with plain rotary positions; CTC's greedy path gives the units.
public struct SpeechGenerator: Sendable {
    public let configuration: SpeechGeneratorConfiguration
    private let inputProjection: Linear
    private let outputProjection: Linear
    private let blocks: [DecoderBlock]
    private let rotary: RotaryEmbedding

    init(
        _ source: any WeightSource, _ configuration: SpeechGeneratorConfiguration, language: DecoderConfiguration,
        progress: () throws -> Void
    ) throws {
        self.configuration = configuration
        inputProjection = try Linear(source, "input_proj", configuration.dim, language.hiddenSize, bias: true)
        outputProjection = try Linear(source, "output_proj", configuration.units + 1, configuration.dim, bias: true)
        let shape = DecoderBlock.Shape(
            hidden: configuration.dim, heads: configuration.heads, kvHeads: configuration.heads,
            inner: configuration.inner, epsilon: language.rmsEpsilon)
        blocks = try (0..<configuration.layers).map { layer in
            try progress()
            return try DecoderBlock(source.under("layers.\(layer)."), shape)
        }
        rotary = RotaryEmbedding(
            headDim: configuration.dim / configuration.heads, theta: language.ropeTheta, sections: [])
    }

    /// What one answer has said so far. Because the layers are causal, nothing that was emitted can change.
    public struct State {
        fileprivate let caches: [KeyValueCache]
        fileprivate var position: Int32 = 0
        fileprivate var last: Int?
    }

    public func makeState() -> State {
        State(caches: blocks.map { KeyValueCache(kvHeads: $0.shape.kvHeads, headDim: $0.shape.headDim) })
    }

    /// The units that one more hidden row adds.
    ///
    /// - Parameter row: [1, hidden], the final-norm row that predicted a token
    public func append(_ row: Tensor, to state: inout State) throws -> [Int32] {
        let scores = try logits(row, state: &state)
        let blank = configuration.units
        var units: [Int32] = []
        scores.withValues { values in
            for index in 0..<scores.rows {
                let best = UnsafeBufferPointer(start: values + index * scores.columns, count: scores.columns)
                    .indexOfLargest()
                if best != state.last, best != blank { units.append(Int32(best)) }
                state.last = best
            }
        }
        return units
    }

    /// CTC scores of the positions that one more hidden row adds. → [upsampling, units + 1]
    func logits(_ row: Tensor, state: inout State) throws -> Tensor {
        let count = Int32(configuration.upsampling)
        let rotation = try rotary.tables((state.position..<state.position + count).map { Position($0) })
        state.position += count
        let projected = try inputProjection(row)
        var x = try projected.repeated(configuration.upsampling)
        for (index, block) in blocks.enumerated() {
            if index == 0 {
                // All copies of a row share what comes before the rotation, so it is computed once.
                let qkv = try block.projectAttention(projected, adapter: nil).repeated(configuration.upsampling)
                x = try block.finish(
                    x, block.attend(qkv, rotation: rotation, cache: state.caches[index]).output, adapter: nil)
            } else {
                x = try block(x, rotation: rotation, cache: state.caches[index], adapter: nil)
            }
        }
        return try outputProjection(x)
    }
}

extension Tensor {
    /// The one row of this tensor, `count` times. [1, columns] → [count, columns]
    fileprivate func repeated(_ count: Int) throws -> Tensor {
        try Tensor([count, columns]) { out in
            withValues { row in for i in 0..<count { (out + i * columns).update(from: row, count: columns) } }
        }
    }
}
