import LyraTensor

/// A trained tensor of a network, under the name that it has in a checkpoint.
public struct Parameter: Sendable {
    public enum Value: Sendable {
        /// A matrix that products read, as it is stored or packed.
        case weight(Weight)
        /// Floats: a norm's weight, a bias, an embedding of positions.
        case tensor(Tensor)
    }

    /// Modules and the tensor's name, with dots between: `layers.0.self_attn.q_proj.weight`.
    public let path: String
    public let value: Value

    init(_ path: String, _ weight: Weight) { (self.path, value) = (path, .weight(weight)) }
    init(_ path: String, _ tensor: Tensor) { (self.path, value) = (path, .tensor(tensor)) }

    private init(_ path: String, _ value: Value) { (self.path, self.value) = (path, value) }

    /// The axes; those of a weight after the first are one.
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

/// A network or a layer whose parameters can be listed, in a fixed order.
protocol Parameterized {
    var parameters: [Parameter] { get }
}

extension Parameterized {
    /// The parameters of a module of this name.
    func parameters(under name: String) -> [Parameter] { parameters.map { $0.under(name + ".") } }
}

extension Array where Element: Parameterized {
    /// The parameters of numbered modules: `layers.0`, `layers.1`, …
    func parameters(under name: String) -> [Parameter] {
        enumerated().flatMap { index, module in module.parameters(under: "\(name).\(index)") }
    }
}
