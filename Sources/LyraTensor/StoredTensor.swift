import CKernels

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
    case q8_0 = "Q8_0"
    case q4_0 = "Q4_0"
    case q4_k = "Q4_K"
    case q6_k = "Q6_K"

    /// Those of one element each: what safetensors and torch files hold.
    public static let plain = allCases.filter { $0.blockElements == 1 }

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
        case .int8, .uint8, .bool: 1
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
/// and of a block type that the last axis is a multiple of the block.
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
    public var count: Int { bytes.count / type.size * type.blockElements }
}

extension Tensor {
    /// Writes all values in `type`: F32, F16 or BF16 rounded to nearest even, or blocks.
    ///
    /// - Parameter destination: room for `count` values of the type
    /// - Throws: `LyraError.argument` for another type, or a count that is not a multiple of the block.
    public func store(as type: ElementType, to destination: UnsafeMutableRawPointer) throws {
        guard let kernel = type.kernelType, count % type.blockElements == 0 else {
            throw LyraError(.argument, "a tensor of shape \(shape) cannot be stored as \(type.rawValue)")
        }
        withValues { lk_quantize(destination, kernel, $0, count) }
    }
}
