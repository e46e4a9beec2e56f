import LyraTensor

/// A trained tensor of a network, under its checkpoint name.
public struct Parameter: Sendable {
    public enum Value: Sendable {
        /// A matrix for products, plain or packed.
        case weight(Weight)
        /// Floats: a norm's weight, a bias, a position embedding.
        case tensor(Tensor)
        /// A tensor in the checkpoint's file: a convolution's. The network has only its packed form, in which weight
        /// normalisation is folded in and numbers may be rounded.
        case stored(StoredTensor)
    }

    /// Module names and tensor name, separated by dots: `layers.0.self_attn.q_proj.weight`.
    public let path: String
    public let value: Value
    /// The axes that the checkpoint gives the tensor.
    public let shape: [Int]
    /// What `value` stores, once more: an enum's tag is in spare bits of its reference to a file, so leak checkers do
    /// not see that reference.
    private let stored: StoredTensor?

    /// - Parameter shape: the axes in the checkpoint, if they are not [outputs, inputs]
    init(_ path: String, _ weight: Weight, shape: [Int]? = nil) {
        self.init(path, .weight(weight), shape ?? [weight.outputs, weight.inputs])
    }
    init(_ path: String, _ tensor: Tensor) { self.init(path, .tensor(tensor), tensor.shape) }
    init(_ path: String, _ stored: StoredTensor) { self.init(path, .stored(stored), stored.shape, stored) }

    private init(_ path: String, _ value: Value, _ shape: [Int], _ stored: StoredTensor? = nil) {
        (self.path, self.value, self.shape, self.stored) = (path, value, shape, stored)
    }

    /// The type in which the network, or for `stored` the file, has the numbers.
    public var type: ElementType {
        switch value {
        case .weight(let weight): weight.elementType
        case .tensor: .float32
        case .stored(let tensor): tensor.type
        }
    }

    fileprivate func under(_ prefix: String) -> Parameter { Parameter(prefix + path, value, shape, stored) }
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
