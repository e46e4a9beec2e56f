import LyraTensor

/// One layer of the vision transformer:
///
///     h = x + output(attention(q, k, v)), where q, k, v = qkv(attentionNorm(x)), and q and k are rotated
///     h + fc2(quickGelu(fc1(mlpNorm(h))))
///
/// Every row attends to all rows of its frame pair, and the rows of a pair are computed in chunks. So the keys and
/// values of the whole pair are computed first. Each chunk then normalizes its rows a second time for its queries,
/// which saves the memory of the normalized rows.
struct VisionLayer: Sendable {
    private let attentionNorm: LayerNorm
    private let qkv: Linear
    private let output: Linear
    private let mlpNorm: LayerNorm
    private let fc1: Linear
    private let fc2: Linear
    private let heads: Int
    private let precision: Precision

    init(_ source: any WeightSource, _ configuration: VisionConfiguration) throws {
        let width = configuration.width
        heads = configuration.heads
        precision = source.precision
        attentionNorm = try LayerNorm(source, "norm1", width, epsilon: 1e-6)
        qkv = try Linear(source, "attn.qkv", 3 * width, width, bias: true)
        output = try Linear(source, "attn.proj", width, width, bias: true)
        mlpNorm = try LayerNorm(source, "norm2", width, epsilon: 1e-6)
        fc1 = try Linear(source, "mlp.fc1", configuration.inner, width, bias: true)
        fc2 = try Linear(source, "mlp.fc2", width, configuration.inner, bias: true)
    }

    /// Rotated keys, and values. [rows, width] → [rows, 2 · width]
    func keysValues(_ x: Tensor, rotation: Rotation) throws -> Tensor {
        // Cut anew for each use, so that each training step has a gradient of its own for the rows.
        let keyValue = try qkv.rows(x.columns..<3 * x.columns)
        return try keyValue(attentionNorm(x)).rotated(rotation, heads: heads)
    }

    /// The layer's output for all rows of several frame pairs. [rows, width] → [rows, width]
    ///
    /// - Parameter segments: the rows of each pair
    func callAsFunction(_ x: Tensor, rotation: Rotation, segments: [AttentionSegment]) throws -> Tensor {
        let width = x.columns
        let all = try qkv(attentionNorm(x)).rotated(rotation, heads: 2 * heads).split(columns: [width, width, width])
        let attended = try attention(
            all[0], keys: all[1], values: all[2], heads: heads, segments: segments, isCausal: false,
            precision: precision)
        return try feedForward(output(attended, addedTo: x))
    }

    /// The layer's output for the rows of a chunk. [rows, width] → [rows, width]
    ///
    /// - Parameter keysValues: keys and values of all rows of the frame pair
    func callAsFunction(_ x: Tensor, rotation: Rotation, keysValues: Tensor) throws -> Tensor {
        let width = x.columns
        let q = try qkv.rows(0..<width)(attentionNorm(x)).rotated(rotation, heads: heads)
        let attended = try attention(
            q, keys: keysValues.columns(0..<width), values: keysValues.columns(width..<2 * width), heads: heads,
            precision: precision)
        return try feedForward(output(attended, addedTo: x))
    }

    private func feedForward(_ h: consuming Tensor) throws -> Tensor {
        let inner = try fc1(mlpNorm(h), activation: .quickGelu)
        return try fc2(inner, addedTo: consume h)
    }
}

/// Combines merge × merge patches, which are adjacent rows, into one token: norm, Linear, GELU, Linear.
struct VisionMerger: Sendable {
    private let norm: LayerNorm
    private let linear1: Linear
    private let linear2: Linear
    private let group: Int

    init(_ source: any WeightSource, _ configuration: VisionConfiguration) throws {
        let merged = configuration.mergedWidth
        group = configuration.merge * configuration.merge
        norm = try LayerNorm(source, "ln_q", configuration.width, epsilon: 1e-6)
        linear1 = try Linear(source, "mlp.0", merged, merged, bias: true)
        linear2 = try Linear(source, "mlp.2", configuration.outputWidth, merged, bias: true)
    }

    /// [rows, width] → [rows / merge², outputWidth]
    func callAsFunction(_ x: Tensor) throws -> Tensor {
        let merged = try norm(x).reshaped([x.rows / group, group * x.columns])
        return try linear2(linear1(merged, activation: .gelu))
    }
}

extension VisionLayer: Parameterized {
    var parameters: [Parameter] {
        attentionNorm.parameters(under: "norm1") + qkv.parameters(under: "attn.qkv")
            + output.parameters(under: "attn.proj")
            + mlpNorm.parameters(under: "norm2") + fc1.parameters(under: "mlp.fc1") + fc2.parameters(under: "mlp.fc2")
    }
}

extension VisionMerger: Parameterized {
    var parameters: [Parameter] {
        norm.parameters(under: "ln_q") + linear1.parameters(under: "mlp.0") + linear2.parameters(under: "mlp.2")
    }
}
