import LyraBase
import LyraTensor

/// A safetensors file: named tensors, which stay in mapped memory.
///
/// Layout (huggingface/safetensors, "Format"): the length of the header as a little-endian 64-bit integer; the header,
/// a JSON object of tensor name to `dtype`, `shape` and `data_offsets`; then the data, which the tensors cover
/// completely and without overlap.
public struct Safetensors: Sendable {
    /// The longest header that is read: the limit of the format's own library.
    static let headerLimit = 100_000_000
    /// The most tensors of one file: several times those of the largest models.
    static let tensorLimit = 65_536

    /// All tensors, by name.
    public let tensors: [String: StoredTensor]
    /// The mapping with the tensors' bytes.
    public let file: MappedFile

    /// Opens the file at `path`; errors as for `init(file:)` and `MappedFile.init(path:)`.
    public init(path: String) throws {
        try self.init(file: MappedFile(path: path))
    }

    /// Reads and checks the header of a mapped file.
    ///
    /// A tensor whose dtype lyra does not read gets the type `other`; only its byte range is checked. Memory is bounded
    /// by the number of tensors, not by the header's size.
    ///
    /// - Throws: `.format` when the header or an entry is damaged or does not fit the file, `.unsupported` for more
    ///   than 65,536 tensors. The message names file, tensor and offsets.
    public init(file: MappedFile) throws {
        let dataStart = try Self.dataStart(in: file)
        let text = UnsafeRawBufferPointer(rebasing: file.bytes[8..<dataStart])
        guard text.first == UInt8(ascii: "{") else {
            throw LyraError(.format, "\(file.path): the safetensors header at byte 8 does not begin with '{'")
        }
        let data = UnsafeRawBufferPointer(rebasing: file.bytes[dataStart...])
        tensors = try JSONScanner.read(text, source: "\(file.path): safetensors header") {
            try Self.tensors(&$0, data: data, file: file)
        }
        self.file = file
        try Self.checkCover(tensors.values, data: data, source: file.path)
    }

    /// The names of all tensors, sorted.
    public var names: [String] { tensors.keys.sorted() }

    /// The tensor of this name, if the file has it.
    public func tensor(_ name: String) -> StoredTensor? { tensors[name] }

    static func dataStart(in file: MappedFile) throws -> Int {
        guard file.bytes.count >= 8 else {
            throw LyraError(
                .format, "\(file.path): \(file.bytes.count) bytes are too few for a safetensors file; it is truncated")
        }
        let length = UInt64(littleEndian: file.bytes.loadUnaligned(as: UInt64.self))
        guard length <= UInt64(headerLimit) else {
            throw LyraError(
                .format,
                "\(file.path): not a safetensors file: it claims a header of \(length) bytes; the limit is "
                    + "\(headerLimit)")
        }
        guard Int(length) <= file.bytes.count - 8 else {
            throw LyraError(
                .format,
                "\(file.path): the header should end at byte \(8 + Int(length)), beyond the end of the file at "
                    + "\(file.bytes.count): the file is truncated, or not a safetensors file")
        }
        return 8 + Int(length)
    }

    private static func tensors(
        _ scanner: inout JSONScanner, data: UnsafeRawBufferPointer, file: MappedFile
    ) throws -> [String: StoredTensor] {
        var tensors: [String: StoredTensor] = [:]
        try scanner.object { scanner, key in
            guard let name = String(validating: key, as: UTF8.self) else {
                throw scanner.error("the name of a tensor is not UTF-8")
            }
            guard name != "__metadata__" else {
                // Strings for people; the tensors do not depend on them.
                return try scanner.object { scanner, key in
                    guard try scanner.peek() == UInt8(ascii: "\"") else {
                        throw scanner.error(
                            "__metadata__: \(shown(String(decoding: key, as: UTF8.self))) is not a string")
                    }
                    try scanner.skip()
                }
            }
            guard tensors.count < tensorLimit else {
                throw LyraError(.unsupported, "\(file.path): more than \(tensorLimit) tensors in one file")
            }
            let entry = try SafetensorsEntry(&scanner, name: name)
            let tensor = try entry.tensor(name: name, data: data, file: file)
            guard tensors.updateValue(tensor, forKey: name) == nil else {
                throw LyraError(.format, "\(file.path): tensor \(shown(name)) is there twice; the file is damaged")
            }
        }
        return tensors
    }

    /// Checks that the tensors cover the data without gaps or overlap.
    private static func checkCover(
        _ tensors: Dictionary<String, StoredTensor>.Values, data: UnsafeRawBufferPointer, source: String
    ) throws {
        var end = 0
        for (range, name) in tensors.map({ ($0.place(in: data), $0.name) }).sorted(by: {
            ($0.0.lowerBound, $0.0.upperBound) < ($1.0.lowerBound, $1.0.upperBound)
        }) {
            guard range.lowerBound == end else {
                let what =
                    range.lowerBound < end ? "overlaps the tensor before it, which ends" : "leaves a gap after the data"
                throw LyraError(
                    .format,
                    "\(source): tensor \(shown(name)) at data bytes \(range) \(what) at data byte \(end); the file "
                        + "is damaged"
                )
            }
            end = range.upperBound
        }
        guard end == data.count else {
            throw LyraError(
                .format,
                "\(source): \(data.count - end) bytes from data byte \(end) belong to no tensor; the file is damaged")
        }
    }
}

extension StoredTensor {
    /// The byte range of the tensor in `data`.
    fileprivate func place(in data: UnsafeRawBufferPointer) -> Range<Int> {
        guard let start = bytes.baseAddress, let base = data.baseAddress else { return 0..<0 }
        return start - base..<start - base + bytes.count
    }
}

/// The header's entry of one tensor, not yet checked against the file.
private struct SafetensorsEntry {
    let dtype: String
    let shape: [Int]
    let offsets: [Int]

    /// The longest name of a dtype in bytes, and the most axes of a tensor, that are read.
    private static let dtypeLimit = 64
    private static let axisLimit = 64

    init(_ scanner: inout JSONScanner, name: String) throws {
        var dtype: String?, shape: [Int]?, offsets: [Int]?
        try scanner.object { scanner, key in
            switch String(decoding: key, as: UTF8.self) {
            case "dtype": dtype = try scanner.text(limit: Self.dtypeLimit)
            case "shape": shape = try scanner.integers(limit: Self.axisLimit)
            case "data_offsets": offsets = try scanner.integers(limit: 2)
            default: try scanner.skip()
            }
        }
        func required<T>(_ value: T?, _ key: String) throws -> T {
            guard let value else { throw scanner.error("tensor \(shown(name)): the key \(shown(key)) is missing") }
            return value
        }
        self.dtype = try required(dtype, "dtype")
        self.shape = try required(shape, "shape")
        self.offsets = try required(offsets, "data_offsets")
    }

    /// Checks the entry and makes the tensor.
    func tensor(name: String, data: UnsafeRawBufferPointer, file: MappedFile) throws -> StoredTensor {
        let tensor = "\(file.path): tensor \(shown(name))"
        let type = ElementType.allCases.first { $0.rawValue == dtype && $0.isInSafetensors } ?? .other
        guard offsets.count == 2, offsets[0] >= 0, offsets[0] <= offsets[1], offsets[1] <= data.count else {
            throw LyraError(
                .format,
                "\(tensor): data_offsets \(offsets) do not lie in the file's \(data.count) data bytes; "
                    + "the file is damaged or truncated")
        }
        let count = type == .other ? offsets[1] - offsets[0] : type.byteCount(of: shape)
        guard count == offsets[1] - offsets[0], ElementType.count(of: shape) != nil else {
            throw LyraError(
                .format,
                "\(tensor): shape \(shape.prefix(16)) of \(shown(dtype)) does not fit its "
                    + "\(offsets[1] - offsets[0]) bytes at data byte \(offsets[0]); the file is damaged")
        }
        return StoredTensor(
            name: name, type: type, shape: shape,
            bytes: UnsafeRawBufferPointer(rebasing: data[offsets[0]..<offsets[1]]), owner: file, source: file.path,
            typeName: dtype)
    }
}

extension ElementType {
    fileprivate var isInSafetensors: Bool { isFloat8 || Self.plain.contains(self) }
}

extension JSONScanner {
    /// Reads an array of integers.
    ///
    /// - Parameter limit: The most elements of the array.
    fileprivate mutating func integers(limit: Int) throws -> [Int] {
        var integers: [Int] = []
        try array { scanner in
            guard integers.count < limit else { throw scanner.error("an array has more than \(limit) numbers") }
            integers.append(try scanner.integer())
        }
        return integers
    }
}
