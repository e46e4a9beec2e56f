import LyraTensor

/// A matrix, an optional bias, and the low-rank updates of the checkpoint's adapters. At most one update is active.
public struct Linear: Sendable {
    let weight: Weight
    let bias: Tensor?
    /// Shape of the weight in the checkpoint.
    private let shape: [Int]
    /// The update of each adapter in index order; nil where an adapter does not update this layer.
    var adapters: [LowRankUpdate?] = []

    var outputs: Int { weight.outputs }

    /// - Parameter hasBias: whether the checkpoint stores a bias
    init(_ source: any WeightSource, _ name: String, _ outputs: Int, _ inputs: Int, bias hasBias: Bool) throws {
        try self.init(source, prefix: name + ".", [outputs, inputs], bias: hasBias)
    }

    /// - Parameters:
    ///   - prefix: prefix of the tensor names `weight` and `bias`
    ///   - shape: shape of the weight; all axes after the first are inputs
    init(_ source: any WeightSource, prefix: String, _ shape: [Int], bias hasBias: Bool) throws {
        self.shape = shape
        weight = try source.weight(prefix + "weight", shape)
        bias = hasBias ? try source.floats(prefix + "bias", [weight.outputs]) : nil
    }

    /// x · Wᵀ + bias + scale · x · Aᵀ · Bᵀ. [rows, inputs] → [rows, outputs]
    func callAsFunction(_ x: Tensor, adapter: Int? = nil) throws -> Tensor { try projection(adapter)(x) }

    /// activation(x · Wᵀ + bias), without an adapter. [rows, inputs] → [rows, outputs]
    func callAsFunction(_ x: Tensor, activation: Activation) throws -> Tensor {
        try weight.product(x, bias: bias, activation: activation)
    }

    /// residual + x · Wᵀ + bias + scale · x · Aᵀ · Bᵀ. residual: [rows, outputs]
    func callAsFunction(_ x: Tensor, adapter: Int? = nil, addedTo residual: consuming Tensor) throws -> Tensor {
        try projection(adapter)(x, addedTo: residual)
    }

    /// Rows `range` of the matrix and of its bias: for example, the queries of a matrix that holds queries, keys and
    /// values.
    func rows(_ range: Range<Int>) throws -> Linear {
        Linear(
            weight: try weight.rows(range), bias: try bias?.reshaped([outputs]).rows(range),
            shape: [range.count] + shape.dropFirst())
    }

    private init(weight: Weight, bias: Tensor?, shape: [Int]) {
        (self.weight, self.bias, self.shape) = (weight, bias, shape)
    }

    fileprivate func projection(_ adapter: Int?) -> Projection {
        let update = adapter.flatMap { adapters.indices.contains($0) ? adapters[$0] : nil }
        return Projection(weight, bias: bias, update: update)
    }
}

extension [Linear] {
    /// Several products of the same x, side by side: [rows, inputs] → [rows, sum of outputs]
    func sideBySide(_ x: Tensor, adapter: Int? = nil) throws -> Tensor {
        try map { $0.projection(adapter) }.sideBySide(x)
    }
}

extension Linear: Parameterized {
    /// Weight and bias. `Decoder.adapterParameters` lists the adapters'.
    var parameters: [Parameter] {
        [Parameter("weight", weight, shape: shape)] + (bias.map { [Parameter("bias", $0)] } ?? [])
    }
}
