import LyraTensor

/// One Qwen2 layer: grouped-query attention with RoPE and biases for q, k and v, then a SwiGLU MLP. Both are pre-norm
/// (RMS) with a residual connection. The language model and the speech generator consist of these layers.
struct DecoderLayer: Sendable {
    struct Shape {
        var hidden: Int
        var heads: Int
        var kvHeads: Int
        var inner: Int
        var epsilon: Float

        var headDim: Int { hidden / heads }
    }

    let shape: Shape
    private let precision: Precision
    private var attentionNorm: Replaceable<RMSNorm>
    private var query: Linear
    private var key: Linear
    private var value: Linear
    private var output: Linear
    private var mlpNorm: Replaceable<RMSNorm>
    private var gate: Linear
    private var up: Linear
    private var down: Linear

    init(_ source: any WeightSource, _ shape: Shape) throws {
        let (hidden, kv) = (shape.hidden, shape.kvHeads * shape.headDim)
        self.shape = shape
        precision = source.precision
        attentionNorm = Replaceable(try RMSNorm(source, "input_layernorm", hidden, epsilon: shape.epsilon))
        mlpNorm = Replaceable(try RMSNorm(source, "post_attention_layernorm", hidden, epsilon: shape.epsilon))
        query = try Linear(source, "self_attn.q_proj", hidden, hidden, bias: true)
        key = try Linear(source, "self_attn.k_proj", kv, hidden, bias: true)
        value = try Linear(source, "self_attn.v_proj", kv, hidden, bias: true)
        output = try Linear(source, "self_attn.o_proj", hidden, hidden, bias: false)
        gate = try Linear(source, "mlp.gate_proj", shape.inner, hidden, bias: false)
        up = try Linear(source, "mlp.up_proj", shape.inner, hidden, bias: false)
        down = try Linear(source, "mlp.down_proj", hidden, shape.inner, bias: false)
    }

    /// The forward pass over new positions, whose keys and values are appended to `cache`.
    ///
    /// - Parameters:
    ///   - x: [positions, hidden]
    ///   - rotation: RoPE rotation of those positions
    ///   - adapters: of the positions; nil for none
    /// - Returns: the layer's output [positions, hidden], and its rotated queries [positions, heads · headDim], with
    ///   which the extractor scores the keys
    func callAsFunction(
        _ x: Tensor, rotation: Rotation, cache: any AttentionContext, adapters: RowAdapters
    ) throws -> (output: Tensor, queries: Tensor) {
        try self(x, qkv: qkv(x, adapters: adapters), rotation: rotation, cache: cache, adapters: adapters)
    }

    /// Queries, keys and values before rotation. [positions, hidden] → [positions, (heads + 2 kvHeads) · headDim]
    func qkv(_ x: Tensor, adapters: RowAdapters) throws -> Tensor {
        try [query, key, value].sideBySide(attentionNorm(x, adapters), adapters: adapters)
    }

    /// h = x + attention(norm(x)), then h + down(silu(gate(norm(h))) · up(norm(h))).
    ///
    /// - Parameter qkv: `qkv(x)`, computed by the caller
    func callAsFunction(
        _ x: Tensor, qkv: consuming Tensor, rotation: Rotation, cache: any AttentionContext, adapters: RowAdapters
    ) throws -> (output: Tensor, queries: Tensor) {
        // The heads of q and k are adjacent; those of v follow and are not rotated.
        let kvColumns = shape.kvHeads * shape.headDim
        let split = try qkv.rotated(rotation, heads: shape.heads + shape.kvHeads)
            .split(columns: [shape.hidden, kvColumns, kvColumns])
        let (q, k, v) = (split[0], split[1], split[2])

        let attended = try cache.attention(q, appending: k, v, heads: shape.heads, precision: precision)
        let h = try output(attended, adapters: adapters, addedTo: x)

        let gateUp = try [gate, up].sideBySide(mlpNorm(h, adapters), adapters: adapters)
            .split(columns: [shape.inner, shape.inner])
        let inner = try Tensor.siluProduct(gate: gateUp[0], up: gateUp[1])
        return (try down(inner, adapters: adapters, addedTo: consume h), q)
    }

    /// The matrices that an adapter can update, with their checkpoint names.
    static var adaptable: [(name: String, path: WritableKeyPath<DecoderLayer, Linear>)] {
        [
            ("self_attn.q_proj", \.query), ("self_attn.k_proj", \.key), ("self_attn.v_proj", \.value),
            ("self_attn.o_proj", \.output), ("mlp.gate_proj", \.gate), ("mlp.up_proj", \.up), ("mlp.down_proj", \.down),
        ]
    }

    /// The norms that an adapter can replace, with their checkpoint names.
    static var norms: [(name: String, path: WritableKeyPath<DecoderLayer, Replaceable<RMSNorm>>)] {
        [("input_layernorm", \.attentionNorm), ("post_attention_layernorm", \.mlpNorm)]
    }

    /// Bytes of the matrices as stored.
    var byteCount: Int { Self.adaptable.reduce(0) { $0 + self[keyPath: $1.path].weight.byteCount } }
}

extension DecoderLayer: Parameterized {
    var parameters: [Parameter] {
        attentionNorm.base.parameters(under: "input_layernorm")
            + Self.adaptable.flatMap { self[keyPath: $0.path].parameters(under: $0.name) }
            + mlpNorm.base.parameters(under: "post_attention_layernorm")
    }
}
