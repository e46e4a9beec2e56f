import LyraTensor

/// A trained tensor of a network, under its checkpoint name.
public struct Parameter: Sendable {
    public enum Value: Sendable {
        /// A matrix for products, plain or packed.
        case weight(Weight)
        /// Floats: a norm's weight, a bias, a position embedding.
        case tensor(Tensor)
    }

    /// Module names and tensor name, separated by dots: `layers.0.self_attn.q_proj.weight`.
    public let path: String
    public let value: Value

    init(_ path: String, _ weight: Weight) { (self.path, value) = (path, .weight(weight)) }
    init(_ path: String, _ tensor: Tensor) { (self.path, value) = (path, .tensor(tensor)) }

    private init(_ path: String, _ value: Value) { (self.path, self.value) = (path, value) }

    /// The axes; a weight has its axes after the first merged.
    public var shape: [Int] {
        switch value {
        case .weight(let weight): [weight.outputs, weight.inputs]
        case .tensor(let tensor): tensor.shape
        }
    }

    public var type: ElementType {
        switch value {
        case .weight(let weight): weight.elementType
        case .tensor: .float32
        }
    }

    fileprivate func under(_ prefix: String) -> Parameter { Parameter(prefix + path, value) }
}

/// A network or layer that lists its parameters in a fixed order.
protocol Parameterized {
    var parameters: [Parameter] { get }
}

extension Parameterized {
    /// The parameters with this module name in front.
    func parameters(under name: String) -> [Parameter] { parameters.map { $0.under(name + ".") } }
}

extension Array where Element: Parameterized {
    /// The parameters of numbered modules: `layers.0`, `layers.1`, …
    func parameters(under name: String) -> [Parameter] {
        enumerated().flatMap { index, module in module.parameters(under: "\(name).\(index)") }
    }
}
