import LyraTensor

/// x / rms(x) · weight
struct RMSNorm: Parameterized, Sendable {
    let weight: Tensor
    let epsilon: Float

    init(_ source: any WeightSource, _ name: String, _ width: Int, epsilon: Float) throws {
        weight = try source.floats(name + ".weight", [width])
        self.epsilon = epsilon
    }

    func callAsFunction(_ x: Tensor) throws -> Tensor { try x.rmsNormalized(weight: weight, epsilon: epsilon) }

    var parameters: [Parameter] { [Parameter("weight", weight)] }
}

/// (x − mean(x)) / √(variance(x) + ε) · weight + bias
struct LayerNorm: Parameterized, Sendable {
    let weight: Tensor
    let bias: Tensor
    let epsilon: Float

    init(_ source: any WeightSource, _ name: String, _ width: Int, epsilon: Float = 1e-5) throws {
        weight = try source.floats(name + ".weight", [width])
        bias = try source.floats(name + ".bias", [width])
        self.epsilon = epsilon
    }

    func callAsFunction(_ x: Tensor) throws -> Tensor {
        try x.layerNormalized(weight: weight, bias: bias, epsilon: epsilon)
    }

    var parameters: [Parameter] { [Parameter("weight", weight), Parameter("bias", bias)] }
}
