import CKernels
import LyraBase

/// Element types that lyra reads from files: plain ones, and GGUF's blocks, which hold several elements with their scales.
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
    /// 4 bits of exponent, 3 of mantissa, no infinities: PyTorch's float8_e4m3fn.
    case float8E4M3 = "F8_E4M3"
    /// 5 bits of exponent, 2 of mantissa, with infinities.
    case float8E5M2 = "F8_E5M2"
    case q8_0 = "Q8_0"
    case q4_0 = "Q4_0"
    case q4_k = "Q4_K"
    case q6_k = "Q6_K"
    /// A type that lyra does not read: `StoredTensor.typeName` says which.
    case other

    /// Those of one element each that safetensors and torch files have in common.
    public static let plain = allCases.filter { $0.blockElements == 1 && !$0.isFloat8 && $0 != .other }

    public var isFloat8: Bool { self == .float8E4M3 || self == .float8E5M2 }

    /// Elements of one block; 1 for a plain type. The last axis of a tensor is a multiple of it.
    public var blockElements: Int {
        switch self {
        case .q8_0, .q4_0: 32
        case .q4_k, .q6_k: 256
        default: 1
        }
    }

    /// Bytes of one block: of one element of a plain type.
    public var size: Int {
        switch self {
        case .float64, .int64: 8
        case .float32, .int32: 4
        case .float16, .bfloat16, .int16: 2
        case .int8, .uint8, .bool, .float8E4M3, .float8E5M2, .other: 1
        case .q8_0: 34
        case .q4_0: 18
        case .q4_k: 144
        case .q6_k: 210
        }
    }
}

/// A tensor as it lies in a file: typed, contiguous, row-major, read-only bytes, usually in mapped memory.
///
/// A reader makes one only after it has checked that `bytes.count` is the product of `shape` times the element's size,
/// and of a block type that the last axis is a multiple of the block. Of a tensor of the type `other` only the place is known.
/// The bytes live as long as `owner` does; they may be unaligned.
public struct StoredTensor: @unchecked Sendable {
    public let name: String
    public let type: ElementType
    public let shape: [Int]
    package let bytes: UnsafeRawBufferPointer
    /// Keeps `bytes` alive: a mapping or an allocation.
    public let owner: AnyObject
    /// The file it came from, for error messages.
    public let source: String
    /// What the file calls the type.
    public let typeName: String

    /// - Parameter typeName: what the file calls the type; by default what lyra does
    package init(
        name: String, type: ElementType, shape: [Int], bytes: UnsafeRawBufferPointer, owner: AnyObject, source: String,
        typeName: String? = nil
    ) {
        self.name = name
        self.type = type
        self.shape = shape
        self.bytes = bytes
        self.owner = owner
        self.source = source
        self.typeName = typeName ?? type.rawValue
    }

    /// The same bytes under another shape of as many elements; the caller has counted them.
    public func withShape(_ shape: [Int]) -> StoredTensor {
        StoredTensor(name: name, type: type, shape: shape, bytes: bytes, owner: owner, source: source)
    }

    public var byteCount: Int { bytes.count }

    /// Number of elements.
    public var count: Int { bytes.count / type.size * type.blockElements }
}

extension Tensor {
    /// Writes all values in `type`: F32, F16 or BF16 rounded to nearest even, or blocks.
    ///
    /// - Parameter destination: room for `count` values of the type
    /// - Throws: `LyraError.argument` for another type, or a count that is not a multiple of the block.
    package func store(as type: ElementType, to destination: UnsafeMutableRawPointer) throws {
        guard let kernel = type.kernelType, count % type.blockElements == 0 else {
            throw LyraError(.argument, "a tensor of shape \(shape) cannot be stored as \(type.rawValue)")
        }
        try withValues { lk_quantize(destination, kernel, $0, count) }
    }
}
