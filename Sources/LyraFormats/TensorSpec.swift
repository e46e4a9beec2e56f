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
    /// Number of elements of a tensor of this shape; nil if an axis is negative, or if the axes that are not 0 have a
    /// product that does not fit: a tensor in memory cannot have such a shape, even without elements.
    static func count(of shape: [Int]) -> Int? { try? FloatStorage.count(of: shape) }

    /// Number of bytes of a tensor of this type and shape; nil if there is no `count`, if the number does not fit, or
    /// if the last axis is not a multiple of the type's quantization block.
    func byteCount(of shape: [Int]) -> Int? {
        guard let count = Self.count(of: shape), (shape.last ?? 1) % blockElements == 0 else { return nil }
        return (count / blockElements).checkedMultiplying(by: size)
    }
}
