import CKernels
import LyraBase

/// Element types that lyra reads from files: plain types, and GGUF's quantization blocks of several elements and their
/// scales.
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
    /// 4 exponent bits, 3 mantissa bits, no infinities: PyTorch's float8_e4m3fn.
    case float8E4M3 = "F8_E4M3"
    /// 5 exponent bits, 2 mantissa bits, with infinities.
    case float8E5M2 = "F8_E5M2"
    case q8_0 = "Q8_0"
    case q4_0 = "Q4_0"
    case q4_k = "Q4_K"
    case q6_k = "Q6_K"
    /// A type that lyra does not read; `StoredTensor.typeName` names it.
    case other

    /// Plain types that both safetensors and torch files can hold.
    public static let plain = allCases.filter { $0.blockElements == 1 && !$0.isFloat8 && $0 != .other }

    public var isFloat8: Bool { self == .float8E4M3 || self == .float8E5M2 }

    /// Elements in one quantization block; 1 for a plain type. The last axis of a tensor is a multiple of this.
    public var blockElements: Int {
        switch self {
        case .q8_0, .q4_0: 32
        case .q4_k, .q6_k: 256
        default: 1
        }
    }

    /// Bytes of one quantization block, or of one element of a plain type.
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

/// A tensor as a file stores it: typed, contiguous, row-major, read-only bytes, usually in mapped memory.
///
/// The code that parses a file checks, before it creates a tensor, that `bytes.count` matches the shape and that the
/// last axis is a whole number of quantization blocks. For the type `other` only the location is known. The bytes stay
/// valid as long as `owner` lives; they may be unaligned.
public struct StoredTensor: @unchecked Sendable {
    public let name: String
    public let type: ElementType
    public let shape: [Int]
    package let bytes: UnsafeRawBufferPointer
    /// Keeps `bytes` valid: a mapping or an allocation.
    public let owner: AnyObject
    /// File that holds the tensor, for error messages.
    public let source: String
    /// The type's name in the file.
    public let typeName: String

    /// - Parameter typeName: the type's name in the file; by default lyra's own name
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

    /// The same bytes with another shape. The caller checks that the element counts agree.
    public func withShape(_ shape: [Int]) -> StoredTensor {
        StoredTensor(name: name, type: type, shape: shape, bytes: bytes, owner: owner, source: source)
    }

    public var byteCount: Int { bytes.count }

    /// Number of elements.
    public var count: Int { bytes.count / type.size * type.blockElements }
}

extension Tensor {
    /// Converts all values to `type`: F32, F16 or BF16, rounded to nearest even, or quantization blocks.
    ///
    /// - Parameter destination: room for `count` values of the type
    /// - Throws: `LyraError.argument` for another type, or if `count` is not a multiple of the quantization block.
    package func store(as type: ElementType, to destination: UnsafeMutableRawPointer) throws {
        guard let kernel = type.kernelType, count % type.blockElements == 0 else {
            throw LyraError(.argument, "a tensor of shape \(shape) cannot be stored as \(type.rawValue)")
        }
        try withValues { lk_quantize(destination, kernel, $0, count) }
    }
}
