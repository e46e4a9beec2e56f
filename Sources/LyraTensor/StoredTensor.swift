/// Element types that lyra reads from files.
public enum ElementType: String, Sendable, CaseIterable {
    case float64 = "F64"
    case float32 = "F32"
    case float16 = "F16"
    case bfloat16 = "BF16"
    case int64 = "I64"
    case int32 = "I32"
    case int16 = "I16"
    case int8 = "I8"
    case uint8 = "U8"
    case bool = "BOOL"

    /// Bytes of one element.
    public var size: Int {
        switch self {
        case .float64, .int64: 8
        case .float32, .int32: 4
        case .float16, .bfloat16, .int16: 2
        case .int8, .uint8, .bool: 1
        }
    }
}

/// A tensor as it lies in a file: typed, contiguous, row-major, read-only bytes, usually in mapped memory.
///
/// A reader makes one only after it has checked that `bytes.count` is the product of `shape` times the element's size.
/// The bytes live as long as `owner` does; they may be unaligned.
public struct StoredTensor: @unchecked Sendable {
    public let name: String
    public let type: ElementType
    public let shape: [Int]
    public let bytes: UnsafeRawBufferPointer
    /// Keeps `bytes` alive: a mapping or an allocation.
    public let owner: AnyObject
    /// The file it came from, for error messages.
    public let source: String

    public init(
        name: String, type: ElementType, shape: [Int], bytes: UnsafeRawBufferPointer, owner: AnyObject, source: String
    ) {
        self.name = name
        self.type = type
        self.shape = shape
        self.bytes = bytes
        self.owner = owner
        self.source = source
    }

    /// Number of elements.
    public var count: Int { bytes.count / type.size }
}
