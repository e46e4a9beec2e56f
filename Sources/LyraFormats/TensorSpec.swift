import LyraBase
import LyraTensor

/// What a file's header states about a tensor: name, element type and shape.
public struct TensorSpec: Sendable, Equatable {
    public let name: String
    public let type: ElementType
    public let shape: [Int]

    public init(name: String, type: ElementType, shape: [Int]) {
        self.name = name
        self.type = type
        self.shape = shape
    }
}

extension ElementType {
    /// Number of elements of a tensor of this shape; nil when a dimension is negative or the product does not fit.
    static func count(of shape: [Int]) -> Int? {
        if shape.contains(where: { $0 < 0 }) { return nil }
        // A zero anywhere makes the tensor empty, however large the other dimensions claim to be.
        if shape.contains(0) { return 0 }
        var count = 1
        for dimension in shape {
            guard let product = count.checkedMultiplying(by: dimension) else { return nil }
            count = product
        }
        return count
    }

    /// Number of bytes of a tensor of this type and shape; nil when a dimension is negative, the product does not fit,
    /// or the last axis is not a multiple of the type's quantization block.
    func byteCount(of shape: [Int]) -> Int? {
        guard let count = Self.count(of: shape), (shape.last ?? 1) % blockElements == 0 else { return nil }
        return (count / blockElements).checkedMultiplying(by: size)
    }
}
