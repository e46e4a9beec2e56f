import LyraTensor

/// A safetensors file: named tensors in mapped memory, none of them copied.
///
/// Layout (huggingface/safetensors, "Format"): the length of the header as a little-endian 64-bit integer; the header, a
/// JSON object of tensor name to `dtype`, `shape` and `data_offsets`; then the data, which the tensors cover completely and
/// without overlap.
public struct Safetensors: Sendable {
    /// The longest header that is read: the limit of the format's own library.
    static let headerLimit = 100_000_000

    /// All tensors, by name.
    public let tensors: [String: StoredTensor]
    /// The names of all tensors, sorted.
    public let names: [String]
    /// The strings under `__metadata__`.
    public let metadata: [String: String]
    /// The mapping that the tensors' bytes lie in.
    public let file: MappedFile

    /// Opens the file at `path`; errors as for `init(file:)` and `MappedFile.init(path:)`.
    public init(path: String) throws {
        try self.init(file: MappedFile(path: path))
    }

    /// Reads and checks the header of a mapped file.
    ///
    /// - Throws: `.format` when the header or an entry is damaged or does not fit the file; `.unsupported` for a dtype that
    ///   lyra does not read. The message names file, tensor and offsets.
    public init(file: MappedFile) throws {
        let dataStart = try Self.dataStart(in: file)
        let text = UnsafeRawBufferPointer(rebasing: file.bytes[8..<dataStart])
        guard text.first == UInt8(ascii: "{") else {
            throw LyraError(.format, "\(file.path): the safetensors header at byte 8 does not begin with '{'")
        }
        let header = try JSONFile.decode(SafetensorsHeader.self, from: text, source: "\(file.path): safetensors header")

        let data = UnsafeRawBufferPointer(rebasing: file.bytes[dataStart...])
        var tensors: [String: StoredTensor] = [:]
        var ranges: [(name: String, range: Range<Int>)] = []
        for (name, entry) in header.entries {
            let (type, range) = try entry.checked(name: name, dataCount: data.count, source: file.path)
            tensors[name] = StoredTensor(
                name: name, type: type, shape: entry.shape, bytes: UnsafeRawBufferPointer(rebasing: data[range]),
                owner: file, source: file.path)
            ranges.append((name, range))
        }
        try Self.checkCover(ranges, dataCount: data.count, source: file.path)
        self.tensors = tensors
        self.names = tensors.keys.sorted()
        self.metadata = header.metadata
        self.file = file
    }

    /// The tensor of this name, if the file has it.
    public func tensor(_ name: String) -> StoredTensor? { tensors[name] }

    private static func dataStart(in file: MappedFile) throws -> Int {
        guard file.bytes.count >= 8 else {
            throw LyraError(
                .format, "\(file.path): \(file.bytes.count) bytes are too few for a safetensors file; it is truncated")
        }
        let length = UInt64(littleEndian: file.bytes.loadUnaligned(as: UInt64.self))
        guard length <= UInt64(headerLimit) else {
            throw LyraError(
                .format,
                "\(file.path): not a safetensors file: it claims a header of \(length) bytes, and \(headerLimit) is the limit"
            )
        }
        guard Int(length) <= file.bytes.count - 8 else {
            throw LyraError(
                .format,
                "\(file.path): the header should end at byte \(8 + Int(length)), beyond the end of the file at "
                    + "\(file.bytes.count): it is truncated, or not a safetensors file")
        }
        return 8 + Int(length)
    }

    /// Checks that the tensors follow each other from the first byte of the data to the last.
    private static func checkCover(
        _ ranges: [(name: String, range: Range<Int>)], dataCount: Int, source: String
    ) throws {
        let ordered = ranges.sorted {
            ($0.range.lowerBound, $0.range.upperBound) < ($1.range.lowerBound, $1.range.upperBound)
        }
        var end = 0
        for (name, range) in ordered {
            guard range.lowerBound == end else {
                let what =
                    range.lowerBound < end ? "overlaps the tensor before it, which ends" : "leaves a gap after the data"
                throw LyraError(
                    .format,
                    "\(source): tensor \(shown(name)) at data bytes \(range) \(what) at data byte \(end); the file is damaged"
                )
            }
            end = range.upperBound
        }
        guard end == dataCount else {
            throw LyraError(
                .format,
                "\(source): \(dataCount - end) data bytes from data byte \(end) on belong to no tensor; the file is damaged"
            )
        }
    }
}

/// The JSON header of a safetensors file, decoded but not yet checked against the file.
private struct SafetensorsHeader: Decodable {
    var metadata: [String: String] = [:]
    var entries: [String: Entry] = [:]

    private struct Name: CodingKey {
        let stringValue: String
        var intValue: Int? { nil }
        init(stringValue: String) { self.stringValue = stringValue }
        init?(intValue: Int) { nil }
    }

    init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: Name.self)
        for name in container.allKeys {
            if name.stringValue == "__metadata__" {
                metadata = try container.decode([String: String].self, forKey: name)
            } else {
                entries[name.stringValue] = try container.decode(Entry.self, forKey: name)
            }
        }
    }

    struct Entry: Decodable {
        let dtype: String
        let shape: [Int]
        let offsets: [Int]

        enum CodingKeys: String, CodingKey {
            case dtype, shape
            case offsets = "data_offsets"
        }

        /// The element type, and the place in the data, once everything about the entry holds.
        func checked(name: String, dataCount: Int, source: String) throws -> (ElementType, Range<Int>) {
            let tensor = "\(source): tensor \(shown(name))"
            guard let type = ElementType.plain.first(where: { $0.rawValue == dtype }) else {
                throw LyraError(
                    .unsupported,
                    "\(tensor) has dtype \(shown(dtype)); lyra reads "
                        + ElementType.plain.map(\.rawValue).joined(separator: ", "))
            }
            guard offsets.count == 2, offsets[0] >= 0, offsets[0] <= offsets[1], offsets[1] <= dataCount else {
                throw LyraError(
                    .format,
                    "\(tensor): data_offsets \(offsets.prefix(4)) do not lie in the file's \(dataCount) data bytes; "
                        + "the file is damaged or truncated")
            }
            guard let bytes = type.byteCount(of: shape), bytes == offsets[1] - offsets[0] else {
                throw LyraError(
                    .format,
                    "\(tensor): shape \(shape.prefix(16)) of \(dtype) does not fit its \(offsets[1] - offsets[0]) bytes at "
                        + "data byte \(offsets[0]); the file is damaged")
            }
            return (type, offsets[0]..<offsets[1])
        }
    }
}
