import CKernels
import LyraTensor

/// One Qwen2 layer: grouped-query attention with q/k/v biases and rotary positions, then a SwiGLU MLP, each behind an
/// RMS norm and a residual. The language model and the speech generator are made of it.
struct DecoderBlock: Sendable {
    struct Shape {
        var hidden: Int
        var heads: Int
        var kvHeads: Int
        var inner: Int
        var epsilon: Float

        var headDim: Int { hidden / heads }
        /// Columns of q, k and v side by side.
        var qkvColumns: Int { (heads + 2 * kvHeads) * headDim }
    }

    let shape: Shape
    private let precision: Precision
    private let inputNorm: Tensor
    private let postAttentionNorm: Tensor
    private var query: Linear
    private var key: Linear
    private var value: Linear
    private var output: Linear
    private var gate: Linear
    private var up: Linear
    private var down: Linear

    init(_ source: any WeightSource, _ shape: Shape) throws {
        let (hidden, kv) = (shape.hidden, shape.kvHeads * shape.headDim)
        self.shape = shape
        precision = source.precision
        inputNorm = try source.floats("input_layernorm.weight", [hidden])
        postAttentionNorm = try source.floats("post_attention_layernorm.weight", [hidden])
        query = try Linear(source, "self_attn.q_proj", hidden, hidden, bias: true)
        key = try Linear(source, "self_attn.k_proj", kv, hidden, bias: true)
        value = try Linear(source, "self_attn.v_proj", kv, hidden, bias: true)
        output = try Linear(source, "self_attn.o_proj", hidden, hidden, bias: false)
        gate = try Linear(source, "mlp.gate_proj", shape.inner, hidden, bias: false)
        up = try Linear(source, "mlp.up_proj", shape.inner, hidden, bias: false)
        down = try Linear(source, "mlp.down_proj", hidden, shape.inner, bias: false)
    }

    /// The matrices that an adapter can sit beside, by their names in a checkpoint.
    static var adaptable: [(name: String, path: WritableKeyPath<DecoderBlock, Linear>)] {
        [
            ("self_attn.q_proj", \.query), ("self_attn.k_proj", \.key), ("self_attn.v_proj", \.value),
            ("self_attn.o_proj", \.output), ("mlp.gate_proj", \.gate), ("mlp.up_proj", \.up), ("mlp.down_proj", \.down),
        ]
    }

    /// Bytes of its matrices as stored.
    var byteCount: Int { Self.adaptable.reduce(0) { $0 + self[keyPath: $1.path].weight.byteCount } }

    /// Runs the layer over new positions and appends their keys and values to `cache`.
    ///
    /// - Parameters:
    ///   - x: [rows, hidden]
    ///   - rotation: [rows, headDim / 2] each
    /// - Returns: [rows, hidden]
    func callAsFunction(
        _ x: Tensor, rotation: (cos: Tensor, sin: Tensor), cache: KeyValueCache, adapter: Int?
    ) throws -> Tensor {
        let attended = try attention(x, rotation: rotation, cache: cache, adapter: adapter).output
        try cache.narrow()
        return try finish(x, attended, adapter: adapter)
    }

    /// The attention of the layer, before its output matrix.
    ///
    /// - Parameter queriesOf: rows of `x` whose rotated queries are wanted as well
    /// - Returns: [rows, heads · headDim], and the queries in as many columns
    func attention(
        _ x: Tensor, rotation: (cos: Tensor, sin: Tensor), cache: KeyValueCache, adapter: Int?,
        queriesOf asking: [Int] = []
    ) throws -> (output: Tensor, queries: Tensor?) {
        try attend(projectAttention(x, adapter: adapter), rotation: rotation, cache: cache, queriesOf: asking)
    }

    /// Queries, keys and values before rotation. [rows, hidden] → [rows, (heads + 2 kvHeads) · headDim]
    func projectAttention(_ x: Tensor, adapter: Int?) throws -> Tensor {
        let columns = shape.qkvColumns
        let normed = try x.rmsNormalized(weight: inputNorm, epsilon: shape.epsilon)
        return try Tensor([x.rows, columns]) { qkv in
            try Linear.apply([query, key, value], to: normed, into: qkv, rowStride: columns, adapter: adapter)
        }
    }

    /// Rotates queries and keys, caches keys and values, attends. → [rows, heads · headDim], and the rotated queries of
    /// the rows `asking` if there are any
    func attend(
        _ qkv: consuming Tensor, rotation: (cos: Tensor, sin: Tensor), cache: KeyValueCache,
        queriesOf asking: [Int] = []
    ) throws -> (output: Tensor, queries: Tensor?) {
        let (rows, columns, queryColumns) = (qkv.rows, shape.qkvColumns, shape.heads * shape.headDim)
        let keyColumns = shape.kvHeads * shape.headDim
        return try qkv.withMutableValues { values in
            rotation.cos.withValues { cos in
                rotation.sin.withValues { sin in
                    // Queries and keys are adjacent: one call rotates the heads of both.
                    lk_rope(values, columns, cos, sin, rows, shape.heads + shape.kvHeads, shape.headDim)
                }
            }
            try cache.append(
                keys: values + queryColumns, values: values + queryColumns + keyColumns, stride: columns, count: rows)
            let output = try cache.attend(
                queries: values, stride: columns, rows: rows, heads: shape.heads, precision: precision)
            guard !asking.isEmpty else { return (output, nil) }
            let queries = try Tensor([asking.count, queryColumns]) { out in
                for (index, row) in asking.enumerated() {
                    (out + index * queryColumns).update(from: values + row * columns, count: queryColumns)
                }
            }
            return (output, queries)
        }
    }

    /// The rest of the layer: x + attended · Wo, then the MLP. → [rows, hidden]
    func finish(_ x: Tensor, _ attended: Tensor, adapter: Int?) throws -> Tensor {
        var hidden = x
        try output.add(attended, to: &hidden, adapter: adapter)
        let normed = try hidden.rmsNormalized(weight: postAttentionNorm, epsilon: shape.epsilon)
        let gated = try Tensor([x.rows, 2 * shape.inner]) { gateUp in
            try Linear.apply([gate, up], to: normed, into: gateUp, rowStride: 2 * shape.inner, adapter: adapter)
        }.siluGated()
        try down.add(gated, to: &hidden, adapter: adapter)
        return hidden
    }
}
