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

    /// x · Wᵀ + bias, without an adapter. [rows, inputs] → [rows, outputs]
    func callAsFunction(_ x: Tensor, rows: RowKind = .together) throws -> Tensor { try projection(nil)(x, rows: rows) }

    /// activation(x · Wᵀ + bias), without an adapter. [rows, inputs] → [rows, outputs]
    func callAsFunction(_ x: Tensor, activation: Activation) throws -> Tensor {
        try weight.product(x, bias: bias, activation: activation)
    }

    /// residual + x · Wᵀ + bias + scale · x · Aᵀ · Bᵀ, with the update of each row's adapter. residual: [rows, outputs]
    func callAsFunction(
        _ x: Tensor, adapters: RowAdapters = nil, addedTo residual: consuming Tensor
    ) throws -> Tensor {
        let runs = adapters.runs(x.rows)
        guard runs.count > 1 else {
            return try projection(runs.first?.adapter)(x, addedTo: residual, rows: adapters.kind)
        }
        var y = try projection(nil)(x, addedTo: residual, rows: adapters.kind)
        for run in runs { try update(run.adapter)?.add(x.rows(run.rows), to: &y, rows: run.rows) }
        return y
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

    fileprivate func update(_ adapter: Int?) -> LowRankUpdate? {
        adapter.flatMap { adapters.indices.contains($0) ? adapters[$0] : nil }
    }

    fileprivate func projection(_ adapter: Int?) -> Projection {
        Projection(weight, bias: bias, update: update(adapter))
    }
}

extension [Linear] {
    /// Several products of the same x, side by side, with the updates of each row's adapter: [rows, inputs] → [rows,
    /// sum of outputs]
    func sideBySide(_ x: Tensor, adapters: RowAdapters = nil) throws -> Tensor {
        let runs = adapters.runs(x.rows)
        guard runs.count > 1 else {
            return try map { $0.projection(runs.first?.adapter) }.sideBySide(x, rows: adapters.kind)
        }
        var y = try map { $0.projection(nil) }.sideBySide(x, rows: adapters.kind)
        for run in runs {
            var column = 0
            for linear in self {
                try linear.update(run.adapter)?.add(x.rows(run.rows), to: &y, rows: run.rows, column: column)
                column += linear.outputs
            }
        }
        return y
    }
}

extension Linear: Parameterized {
    /// Weight and bias. `Decoder.adapterParameters` lists the adapters'.
    var parameters: [Parameter] {
        [Parameter("weight", weight, shape: shape)] + (bias.map { [Parameter("bias", $0)] } ?? [])
    }
}
