import LyraBase
import LyraTensor

/// Reads the metadata and the list of tensors at the start of a GGUF file.
///
/// Counts and lengths are checked against the bytes that are left before anything is allocated for them.
struct GGUFReader {
    /// The longest name of a key or tensor in bytes: the format's limit for keys.
    static let nameLimit = 65_535
    /// The largest alignment that ggml reads.
    static let alignmentLimit = 1 << 20

    /// The most bytes of metadata and tensor list: several times the largest vocabulary, but small enough that the
    /// parsed values fit into memory. A string in the metadata thus has at most the size of a JSON file that lyra
    /// reads.
    static let headerLimit = JSONFile.sizeLimit

    /// The most keys, and the most tensors, of one file: several times those of the largest models.
    static let entryLimit = 65_536

    private(set) var cursor: ByteCursor
    /// Keeps the mapping alive while the cursor reads it.
    private let file: MappedFile
    /// Called at intervals; throws to stop the work.
    let check: () throws -> Void

    init(_ file: MappedFile, check: @escaping () throws -> Void) throws {
        self.file = file
        self.check = check
        let range = 0..<min(file.bytes.count, Self.headerLimit)
        let limit = range.upperBound < file.bytes.count ? " (of \(Self.headerLimit) bytes at most)" : ""
        cursor = try ByteCursor(file, range, section: "the GGUF header" + limit)
    }

    // MARK: Header

    /// Reads the magic number and the version.
    mutating func version() throws -> Int {
        guard cursor.remaining >= 4, try cursor.take(4).elementsEqual("GGUF".utf8) else {
            throw LyraError(.format, "\(cursor.source): not a GGUF file: it does not begin with GGUF")
        }
        let version: UInt32 = try cursor.integer()
        guard version == 2 || version == 3 else {
            let swapped = version.byteSwapped
            let reason =
                swapped == 2 || swapped == 3
                ? "is big-endian; lyra reads little-endian files: convert the model again, as little-endian"
                : "has GGUF version \(version); lyra reads versions 2 and 3: convert the model again"
            throw LyraError(.unsupported, "\(cursor.source): the file \(reason)")
        }
        return Int(version)
    }

    /// Reads a count, and checks it against the bytes that are left.
    ///
    /// - Parameters:
    ///   - what: What is counted, for messages.
    ///   - size: The least bytes of one counted element.
    mutating func count(of what: String, size: Int) throws -> Int {
        let place = cursor.offset
        let count: UInt64 = try cursor.integer()
        guard count <= UInt64(cursor.remaining / size) else {
            throw LyraError(
                .format,
                "\(cursor.source): byte \(place) announces \(count) \(what), but the \(cursor.remaining) bytes after "
                    + "it cannot hold them; the file is damaged or truncated")
        }
        return Int(count)
    }

    /// `count(of:size:)` for keys or tensors, also bounded by `entryLimit`: an entry takes more bytes in memory than in
    /// the file.
    mutating func entryCount(of what: String, size: Int) throws -> Int {
        let count = try count(of: what, size: size)
        guard count <= Self.entryLimit else {
            throw LyraError(
                .unsupported, "\(cursor.source): \(count) \(what) in one file; lyra reads \(Self.entryLimit) at most")
        }
        return count
    }

    private mutating func name(of what: String) throws -> String {
        let place = cursor.offset
        let length: UInt64 = try cursor.integer()
        guard length > 0, length <= UInt64(Self.nameLimit) else {
            throw LyraError(
                .format,
                "\(cursor.source): the name of the \(what) at byte \(place) claims \(length) bytes; 1 to "
                    + "\(Self.nameLimit) are allowed, so the file is damaged")
        }
        return try cursor.text(Int(length))
    }

    /// Keys, strings or tensors between two calls of `check`: well under a millisecond of work.
    static let checkInterval = 1024

    // MARK: Metadata

    /// The fewest bytes that a key and its value take: the key's length, a letter, the type, a byte.
    static let keySize = 8 + 1 + 4 + 1

    /// Reads `count` keys and their values.
    mutating func metadata(count: Int) throws -> (keys: [String], values: [String: GGUFValue]) {
        var keys: [String] = []
        var values: [String: GGUFValue] = [:]
        for index in 0..<count {
            if index % Self.checkInterval == 0 { try check() }
            let key = try name(of: "key \(index + 1) of \(count)")
            guard values.updateValue(try value(of: key), forKey: key) == nil else {
                throw LyraError(
                    .format,
                    "\(cursor.source): the key \(shown(key)) is in the file twice, again before byte \(cursor.offset)")
            }
            keys.append(key)
        }
        return (keys, values)
    }

    private mutating func value(of key: String) throws -> GGUFValue {
        switch try type(key) {
        case .uint8: .uint8(try cursor.integer())
        case .int8: .int8(try cursor.integer())
        case .uint16: .uint16(try cursor.integer())
        case .int16: .int16(try cursor.integer())
        case .uint32: .uint32(try cursor.integer())
        case .int32: .int32(try cursor.integer())
        case .uint64: .uint64(try cursor.integer())
        case .int64: .int64(try cursor.integer())
        case .float32: .float32(Float(bitPattern: try cursor.integer()))
        case .float64: .float64(Double(bitPattern: try cursor.integer()))
        case .bool: .bool(try bools(key, count: 1)[0])
        case .string: .string(try string(key))
        case .array: try array(key)
        }
    }

    private mutating func type(_ key: String) throws -> GGUFType {
        let place = cursor.offset
        let code: UInt32 = try cursor.integer()
        guard let type = GGUFType(rawValue: code) else {
            throw LyraError(
                .format,
                "\(cursor.source): key \(shown(key)): \(code) at byte \(place) is no value type; the file is damaged")
        }
        return type
    }

    private mutating func array(_ key: String) throws -> GGUFValue {
        let place = cursor.offset
        switch try type(key) {
        case .uint8: return .uint8s(try numbers(key))
        case .int8: return .int8s(try numbers(key))
        case .uint16: return .uint16s(try numbers(key))
        case .int16: return .int16s(try numbers(key))
        case .uint32: return .uint32s(try numbers(key))
        case .int32: return .int32s(try numbers(key))
        case .uint64: return .uint64s(try numbers(key))
        case .int64: return .int64s(try numbers(key))
        case .float32: return .float32s(try numbers(key))
        case .float64: return .float64s(try numbers(key))
        case .bool:
            let count = try count(of: "elements of \(shown(key))", size: 1)
            return .bools(try bools(key, count: count))
        case .string:
            let count = try count(of: "strings of \(shown(key))", size: 8)
            var strings: [String] = []
            strings.reserveCapacity(count)
            for index in 0..<count {
                if index % Self.checkInterval == 0 { try check() }
                strings.append(try string(key))
            }
            return .strings(strings)
        case .array:
            throw LyraError(
                .unsupported,
                "\(cursor.source): key \(shown(key)) at byte \(place) is an array of arrays, which lyra does not read")
        }
    }

    /// Reads a count and that many numbers. File and machine are both little-endian, so the bytes are copied.
    private mutating func numbers<T: BitwiseCopyable>(_ key: String) throws -> [T] {
        let size = MemoryLayout<T>.size
        let count = try count(of: "elements of \(shown(key))", size: size)
        let bytes = try cursor.take(count * size)
        return [T](unsafeUninitializedCapacity: count) { numbers, filled in
            UnsafeMutableRawBufferPointer(numbers).copyMemory(from: bytes)
            filled = count
        }
    }

    private mutating func bools(_ key: String, count: Int) throws -> [Bool] {
        let place = cursor.offset
        let bytes = try cursor.take(count)
        if let index = bytes.firstIndex(where: { $0 > 1 }) {
            throw LyraError(
                .format,
                "\(cursor.source): key \(shown(key)): \(bytes[index]) at byte \(place + index) is neither true nor "
                    + "false; the file is damaged")
        }
        return bytes.map { $0 == 1 }
    }

    private mutating func string(_ key: String) throws -> String {
        let place = cursor.offset
        let length: UInt64 = try cursor.integer()
        guard length <= UInt64(cursor.remaining) else {
            throw LyraError(
                .format,
                "\(cursor.source): key \(shown(key)): byte \(place) announces a string of \(length) bytes, but "
                    + "\(cursor.remaining) are left; the file is damaged or truncated")
        }
        return try cursor.text(Int(length))
    }

    // MARK: Tensors

    /// The fewest bytes that a tensor's entry takes: its name's length, a letter, the number of axes, type and offset.
    static let tensorSize = 8 + 1 + 4 + 4 + 8

    /// One entry of the tensor list.
    struct TensorEntry {
        let spec: TensorSpec
        /// Bytes of the tensor's data.
        let byteCount: Int
        /// Where the tensor begins, counted from the start of the data.
        let offset: UInt64
    }

    /// Reads the list of `count` tensors.
    mutating func tensors(count: Int) throws -> [TensorEntry] {
        var entries: [TensorEntry] = []
        for index in 0..<count {
            if index % Self.checkInterval == 0 { try check() }
            entries.append(try tensor())
        }
        return entries
    }

    private mutating func tensor() throws -> TensorEntry {
        let name = try name(of: "tensor")
        let tensor = "\(cursor.source): tensor \(shown(name))"
        let axes: UInt32 = try cursor.integer()
        guard axes <= UInt32(GGUFWriter.axisLimit) else {
            throw LyraError(
                .format,
                "\(tensor): \(axes) axes before byte \(cursor.offset); GGUF allows \(GGUFWriter.axisLimit), so the "
                    + "file is damaged")
        }
        var sizes: [UInt64] = []
        for _ in 0..<axes { sizes.append(try cursor.integer()) }
        let code: UInt32 = try cursor.integer()
        guard let type = ElementType(ggml: code) else { throw Self.unreadable(code, tensor) }
        // The innermost axis comes first in the file.
        let shape = sizes.reversed().compactMap { Int(exactly: $0) }
        guard shape.count == sizes.count, let byteCount = type.byteCount(of: shape) else {
            throw LyraError(
                .format,
                "\(tensor): a tensor of \(type.rawValue) cannot have the shape \(Array(sizes.reversed())); the file is "
                    + "damaged")
        }
        let spec = TensorSpec(name: name, type: type, shape: shape)
        return TensorEntry(spec: spec, byteCount: byteCount, offset: try cursor.integer())
    }

    private static func unreadable(_ code: UInt32, _ tensor: String) -> LyraError {
        guard let name = ElementType.otherGGMLTypes[code] else {
            return LyraError(.format, "\(tensor): type \(code) is unknown to lyra; is the file damaged?")
        }
        let blocks = ElementType.allCases.filter { $0.blockElements > 1 }.map(\.rawValue).joined(separator: ", ")
        return LyraError(
            .unsupported,
            "\(tensor) has type \(name), which lyra does not read; quantize the model to \(blocks), or leave it "
                + "unquantized")
    }
}
