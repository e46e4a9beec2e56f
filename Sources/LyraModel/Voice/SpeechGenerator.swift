import LyraBase
import LyraTensor

/// Generates speech units from the language model's hidden states (section "streaming speech generator" of arXiv
/// 2412.09501): each hidden state becomes 25 positions of a small causal Qwen2 with plain RoPE; greedy CTC decoding
/// yields the units.
public struct SpeechGenerator: Sendable {
    public let configuration: SpeechGeneratorConfiguration
    private let inputProjection: Linear
    private let outputProjection: Linear
    private let layers: [DecoderLayer]
    private let rotary: RotaryEmbedding

    package init(
        _ source: any WeightSource, _ configuration: SpeechGeneratorConfiguration, language: DecoderConfiguration,
        progress: () throws -> Void = {}
    ) throws {
        self.configuration = configuration
        inputProjection = try Linear(source, "input_proj", configuration.dim, language.hiddenSize, bias: true)
        outputProjection = try Linear(source, "output_proj", configuration.units + 1, configuration.dim, bias: true)
        // As in the reference, the norm's ε and RoPE's θ are the language model's.
        let shape = DecoderLayer.Shape(
            hidden: configuration.dim, heads: configuration.heads, kvHeads: configuration.heads,
            inner: configuration.inner, epsilon: language.rmsEpsilon)
        layers = try (0..<configuration.layers).map { layer in
            try progress()
            return try DecoderLayer(source.under("layers.\(layer)."), shape)
        }
        rotary = RotaryEmbedding(
            headDim: configuration.dim / configuration.heads, theta: language.ropeTheta, sections: [])
    }

    /// The speech of an answer so far. The layers are causal, so emitted units never change.
    public struct State {
        fileprivate let caches: [KeyValueCache]
        fileprivate var position: Int32 = 0
        fileprivate var last: Int?
        /// Number of rows to come that precede the answer.
        fileprivate var contextRows: Int
    }

    /// - Parameter contextRows: how many of the prompt's hidden states are appended before the answer's
    public func makeState(contextRows: Int = 0) -> State {
        State(
            caches: layers.map { KeyValueCache(kvHeads: $0.shape.kvHeads, headDim: $0.shape.headDim) },
            contextRows: contextRows)
    }

    /// The units that one more hidden state adds; none if it precedes the answer.
    ///
    /// - Parameter row: [1, hidden], the hidden state after the final norm that predicted a token
    public func append(_ row: Tensor, to state: inout State) throws -> [Int32] {
        let x = try read(row, state: &state)
        guard state.contextRows == 0 else {
            state.contextRows -= 1
            return []
        }
        return units(try outputProjection(x).indicesOfLargest(), state: &state)
    }

    /// Whether the positions of several hidden states are rounded as those of one: fewer than are rounded to BF16 with
    /// packed weights would be among more.
    package var canShare: Bool { configuration.upsampling > Weight.fewRows }

    /// The same for one more hidden state of each of several answers: weights are read once for all.
    ///
    /// - Parameters:
    ///   - rows: [answers, hidden], one of each; needs `canShare`
    ///   - isInterrupted: whether to give up, asked before each layer
    /// - Returns: the units of each answer
    /// - Throws: the first error of any answer; all states are then as before.
    package func append(
        _ rows: Tensor, to states: inout [State], isInterrupted: () -> Bool = { false }
    ) throws -> [[Int32]] {
        let upsampling = configuration.upsampling
        let caches = states.map(\.caches)
        let best = try SharedCache.undoing(caches) {
            let rotation = try rotary(
                states.flatMap { state in (0..<Int32(upsampling)).map { Position(state.position + $0) } })
            let apart = RowAdapters(ofConversations: states.map { _ in nil })
            var x = try inputProjection(rows, rows: .apart)
            for index in layers.indices {
                guard !isInterrupted() else { throw SharedCache.interrupted }
                let cache = SharedCache(caches.map { $0[index] })
                x = try run(index, x, rotation: rotation, cache: cache, firstRows: apart)
            }
            return try outputProjection(x).indicesOfLargest()
        }
        return states.indices.map { index in
            states[index].position += Int32(upsampling)
            guard states[index].contextRows == 0 else {
                states[index].contextRows -= 1
                return []
            }
            return units(best[index * upsampling..<(index + 1) * upsampling], state: &states[index])
        }
    }

    /// CTC: the units of the best scores, without blanks and repetitions.
    private func units(_ best: some Sequence<Int>, state: inout State) -> [Int32] {
        var units: [Int32] = []
        for best in best {
            if best != state.last, best != configuration.units { units.append(Int32(best)) }
            state.last = best
        }
        return units
    }

    /// CTC scores of whole answers, with gradients for the generator's trained parameters and for the hidden states.
    ///
    /// - Parameters:
    ///   - answers: hidden states of each answer, [rows, hidden]; an answer attends to itself only
    ///   - contextRows: how many rows of each answer precede it and get no scores; empty for none
    ///   - recomputesLayers: whether only the layers' inputs stay in memory until the gradient is computed
    /// - Returns: scores of all answers, one after the other, [all rows · upsampling, units + 1]
    /// - Throws: `LyraError.argument` without a row; `.memory`, `.io`, and `.state` if interrupted.
    package func callAsFunction(
        _ answers: [Tensor], contextRows: [Int] = [], recomputesLayers: Bool = false
    ) throws -> Tensor {
        let lengths = answers.filter { $0.rows > 0 }.map { $0.rows * configuration.upsampling }
        guard !lengths.isEmpty else { throw LyraError(.argument, "the speech generator needs a hidden state") }
        let rotation = try rotary(lengths.flatMap { length in (0..<Int32(length)).map { Position($0) } })
        let cache = BatchContext(lengths: lengths)
        var x = try inputProjection(Tensor.stacking(answers))
        for index in layers.indices {
            x =
                recomputesLayers
                ? try recomputing([x]) { try run(index, $0[0], rotation: rotation, cache: cache) }
                : try run(index, x, rotation: rotation, cache: cache)
        }
        guard contextRows.contains(where: { $0 > 0 }) else { return try outputProjection(x) }
        var spoken: [Int32] = [], first = 0
        for (index, answer) in answers.enumerated() {
            let context = index < contextRows.count ? contextRows[index] * configuration.upsampling : 0
            let end = first + answer.rows * configuration.upsampling
            spoken += (min(first + context, end)..<end).map { Int32($0) }
            first = end
        }
        return try outputProjection(x.keepingRows(spoken))
    }

    /// CTC scores of the positions that one more hidden state adds. → [upsampling, units + 1]
    func logits(_ row: Tensor, state: inout State) throws -> Tensor {
        // The reference has no norm after the last layer.
        try outputProjection(read(row, state: &state))
    }

    /// Runs the positions of one more hidden state through the layers. → [upsampling, dim]
    private func read(_ row: Tensor, state: inout State) throws -> Tensor {
        let count = Int32(configuration.upsampling)
        let rotation = try rotary((state.position..<state.position + count).map { Position($0) })
        state.position += count
        var x = try inputProjection(row)
        for index in layers.indices {
            x = try run(index, x, rotation: rotation, cache: state.caches[index])
        }
        return x
    }

    /// A layer. The first reads the input's projection, one row for all positions of a hidden state: they share q, k
    /// and v before rotation.
    ///
    /// - Parameter firstRows: how the first layer's products take the rows
    private func run(
        _ index: Int, _ x: Tensor, rotation: Rotation, cache: any AttentionContext, firstRows: RowAdapters = nil
    ) throws -> Tensor {
        let layer = layers[index]
        guard index == 0 else {
            let qkv = try layer.qkv(x, adapters: nil)
            return try layer(x, qkv: qkv, rotation: rotation, cache: cache, adapters: nil).output
        }
        let qkv = try layer.qkv(x, adapters: firstRows).repeatingRows(configuration.upsampling)
        let repeated = try x.repeatingRows(configuration.upsampling)
        return try layer(repeated, qkv: qkv, rotation: rotation, cache: cache, adapters: nil).output
    }
}

extension SpeechGenerator: Parameterized {
    public var parameters: [Parameter] {
        inputProjection.parameters(under: "input_proj") + layers.parameters(under: "layers")
            + outputProjection.parameters(under: "output_proj")
    }
}
