/// One value of a GGUF file's metadata, with the type that it has in the file.
///
/// An array is one case with a Swift array, not an array of `GGUFValue`, so that a vocabulary takes no more memory than
/// its strings. Arrays of arrays, which the format allows, are not read.
public enum GGUFValue: Sendable, Equatable {
    case uint8(UInt8)
    case int8(Int8)
    case uint16(UInt16)
    case int16(Int16)
    case uint32(UInt32)
    case int32(Int32)
    case uint64(UInt64)
    case int64(Int64)
    case float32(Float)
    case float64(Double)
    case bool(Bool)
    case string(String)
    case uint8s([UInt8])
    case int8s([Int8])
    case uint16s([UInt16])
    case int16s([Int16])
    case uint32s([UInt32])
    case int32s([Int32])
    case uint64s([UInt64])
    case int64s([Int64])
    case float32s([Float])
    case float64s([Double])
    case bools([Bool])
    case strings([String])

    /// The value as an integer; nil when the value is no integer, or does not fit.
    public var int: Int? {
        switch self {
        case .uint8(let value): Int(value)
        case .int8(let value): Int(value)
        case .uint16(let value): Int(value)
        case .int16(let value): Int(value)
        case .uint32(let value): Int(value)
        case .int32(let value): Int(value)
        case .uint64(let value): Int(exactly: value)
        case .int64(let value): Int(exactly: value)
        default: nil
        }
    }

    /// The value as integers; nil when the value is no array of integers, or one does not fit.
    public var ints: [Int]? {
        switch self {
        case .uint8s(let values): values.map { Int($0) }
        case .int8s(let values): values.map { Int($0) }
        case .uint16s(let values): values.map { Int($0) }
        case .int16s(let values): values.map { Int($0) }
        case .uint32s(let values): values.map { Int($0) }
        case .int32s(let values): values.map { Int($0) }
        case .uint64s(let values): values.contains { $0 > Int.max } ? nil : values.map { Int($0) }
        case .int64s(let values): values.map { Int($0) }
        default: nil
        }
    }

    /// The value as a floating-point number; nil when the value is of another kind.
    public var double: Double? {
        switch self {
        case .float32(let value): Double(value)
        case .float64(let value): value
        default: nil
        }
    }

    /// The value as floating-point numbers; nil when the value is of another kind.
    public var doubles: [Double]? {
        switch self {
        case .float32s(let values): values.map { Double($0) }
        case .float64s(let values): values
        default: nil
        }
    }

    /// The kind of value, for messages: "a string", "an array of int32".
    var kind: String {
        switch self {
        case .uint8: "a uint8 number"
        case .int8: "an int8 number"
        case .uint16: "a uint16 number"
        case .int16: "an int16 number"
        case .uint32: "a uint32 number"
        case .int32: "an int32 number"
        case .uint64: "a uint64 number"
        case .int64: "an int64 number"
        case .float32: "a float32 number"
        case .float64: "a float64 number"
        case .bool: "a bool"
        case .string: "a string"
        case .uint8s: "an array of uint8"
        case .int8s: "an array of int8"
        case .uint16s: "an array of uint16"
        case .int16s: "an array of int16"
        case .uint32s: "an array of uint32"
        case .int32s: "an array of int32"
        case .uint64s: "an array of uint64"
        case .int64s: "an array of int64"
        case .float32s: "an array of float32"
        case .float64s: "an array of float64"
        case .bools: "an array of bools"
        case .strings: "an array of strings"
        }
    }
}

/// The codes of metadata types in a GGUF file (ggml, docs/gguf.md).
enum GGUFType: UInt32 {
    case uint8 = 0
    case int8, uint16, int16, uint32, int32, float32, bool, string, array, uint64, int64, float64
}
