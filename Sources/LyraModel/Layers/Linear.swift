import CKernels
import LyraBase
import LyraTensor

/// A matrix, an optional bias, and the low-rank adapters that can be switched on beside it.
public struct Linear: Sendable {
    let weight: Weight
    let bias: Tensor?
    /// One for each adapter of the checkpoint, in its order; nil where an adapter leaves this layer alone.
    var adapters: [LowRank?] = []

    var outputs: Int { weight.outputs }

    /// - Parameter bias: whether there is one; nil takes it if the source has it.
    init(_ source: any WeightSource, _ name: String, _ outputs: Int, _ inputs: Int, bias hasBias: Bool) throws {
        weight = try source.weight(name + ".weight", [outputs, inputs])
        bias = hasBias ? try source.floats(name + ".bias", [outputs]) : nil
    }

    /// x · Wᵀ + bias + scale · x · Aᵀ · Bᵀ. [rows, inputs] → [rows, outputs]
    func callAsFunction(_ x: Tensor, adapter: Int? = nil) throws -> Tensor {
        try Tensor([x.rows, outputs]) { y in
            try weight.multiply(x, into: y, rowStride: outputs, bias: bias)
            try addAdapter(adapter, x, to: y, rowStride: outputs)
        }
    }

    /// gelu(x · Wᵀ + bias), without adapters.
    func gelu(_ x: Tensor) throws -> Tensor { try weight.multiply(x, bias: bias, epilogue: .gelu) }

    /// quickGelu(x · Wᵀ + bias), without adapters.
    func quickGelu(_ x: Tensor) throws -> Tensor { try weight.multiply(x, bias: bias, epilogue: .quickGelu) }

    /// sum += x · Wᵀ + bias + scale · x · Aᵀ · Bᵀ. sum: [rows, outputs]
    func add(_ x: Tensor, to sum: inout Tensor, adapter: Int? = nil) throws {
        guard sum.shape == [x.rows, outputs] else {
            throw LyraError(.format, "a product [\(x.rows), \(outputs)] cannot be added to a tensor \(sum.shape)")
        }
        try sum.withMutableValues { y in
            try weight.multiply(x, into: y, rowStride: outputs, bias: bias, epilogue: .accumulate)
            try addAdapter(adapter, x, to: y, rowStride: outputs)
        }
    }

    /// Several of the same x, whose outputs lie side by side in rows of y that are `rowStride` floats apart.
    static func apply(
        _ linears: [Linear], to x: Tensor, into y: UnsafeMutablePointer<Float>, rowStride: Int, adapter: Int?
    ) throws {
        var column = 0
        var products: [WeightProduct] = []
        for linear in linears {
            products.append(WeightProduct(linear.weight, into: y + column, rowStride: rowStride, bias: linear.bias))
            column += linear.outputs
        }
        try WeightProduct.run(products, of: x)
        column = 0
        for linear in linears {
            try linear.addAdapter(adapter, x, to: y + column, rowStride: rowStride)
            column += linear.outputs
        }
    }

    private func addAdapter(_ adapter: Int?, _ x: Tensor, to y: UnsafeMutablePointer<Float>, rowStride: Int) throws {
        if let adapter, adapters.indices.contains(adapter), let lowRank = adapters[adapter] {
            try lowRank.add(x, to: y, rowStride: rowStride)
        }
    }
}

/// One adapter's pair for one matrix (LoRA, arXiv 2106.09685), kept beside it so that switching costs nothing.
struct LowRank: Sendable {
    let a: Weight
    let b: Weight
    let scale: Float

    func add(_ x: Tensor, to y: UnsafeMutablePointer<Float>, rowStride: Int) throws {
        var low = try a.multiply(x)  // [rows, rank]
        let count = low.count
        try low.withMutableValues { lk_scale($0, count, scale) }
        try b.multiply(low, into: y, rowStride: rowStride, epilogue: .accumulate)
    }
}
