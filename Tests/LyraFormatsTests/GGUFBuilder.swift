@testable import LyraFormats

/// Builds GGUF files for tests, also invalid ones.
struct GGUFBuilder {
    let version: UInt32
    /// The counts in the header; by default the numbers of added keys and tensors.
    let tensorCount: UInt64?
    let keyCount: UInt64?
    /// Bytes between the header and the data; by default padding to a multiple of 32.
    let padding: Int?
    let data: [UInt8]
    private var keys: [[UInt8]] = []
    private var tensors: [[UInt8]] = []

    init(
        version: UInt32 = 3, tensorCount: UInt64? = nil, keyCount: UInt64? = nil, padding: Int? = nil,
        data: [UInt8] = []
    ) {
        self.version = version
        self.tensorCount = tensorCount
        self.keyCount = keyCount
        self.padding = padding
        self.data = data
    }

    /// - Parameter value: The value's bytes in the file, without its type.
    mutating func add(_ key: String, type: UInt32, _ value: [UInt8]) {
        keys.append(Self.text(key) + Self.number(type) + value)
    }

    /// - Parameter sizes: As in the file: the innermost axis first.
    mutating func add(_ tensor: String, _ sizes: [UInt64], type: UInt32, at offset: UInt64, axes: UInt32? = nil) {
        let entry = Self.text(tensor) + Self.number(axes ?? UInt32(sizes.count)) + sizes.flatMap(Self.number)
        tensors.append(entry + Self.number(type) + Self.number(offset))
    }

    var content: [UInt8] {
        var content = Array("GGUF".utf8) + Self.number(version)
        content += Self.number(tensorCount ?? UInt64(tensors.count)) + Self.number(keyCount ?? UInt64(keys.count))
        for entry in keys + tensors { content += entry }
        return content + [UInt8](repeating: 0, count: padding ?? (32 - content.count % 32) % 32) + data
    }

    static func number<T: FixedWidthInteger & UnsignedInteger>(_ value: T) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.append(value)
        return bytes
    }

    static func text(_ text: String, length: UInt64? = nil) -> [UInt8] {
        number(length ?? UInt64(text.utf8.count)) + Array(text.utf8)
    }
}
