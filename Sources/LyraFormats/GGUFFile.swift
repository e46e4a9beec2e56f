import LyraBase
import LyraTensor

/// A GGUF file: typed metadata, and named tensors, which stay in mapped memory.
///
/// Layout (ggml, docs/gguf.md): magic number, version, counts; the metadata; an entry of name, sizes, type and offset
/// for each tensor; padding; the tensors' data, each at a multiple of the alignment. Versions 2 and 3 in little-endian
/// order are read.
public struct GGUFFile: Sendable {
    /// The file that was opened.
    public let path: String
    /// The version of the format: 2 or 3.
    public let version: Int
    /// All keys of the metadata, in the order of the file.
    public let keys: [String]
    /// All values of the metadata, by key.
    public let metadata: [String: GGUFValue]
    /// Tensors begin at multiples of this, counted from the start of the data.
    public let alignment: Int
    /// The names of all tensors, in the order of the file.
    public private(set) var names: [String]
    /// All tensors, by name. Shapes are row-major as everywhere in lyra: the innermost axis last.
    public private(set) var tensors: [String: StoredTensor]
    /// The mapping with the metadata and the tensors. Tensors of the other files of a split model lie in other
    /// mappings.
    public let file: MappedFile

    /// Opens the file at `path`; errors as for `init(file:)` and `MappedFile.init(path:)`.
    public init(path: String) throws {
        try self.init(file: MappedFile(path: path))
    }

    /// Reads and checks metadata and tensor list of a mapped file.
    ///
    /// - Parameter check: Called at intervals; throws to stop the work.
    /// - Throws: What `check` throws; `.format` when an entry is damaged, a duplicate, or does not fit the file;
    ///   `.unsupported` for a big-endian file, another version, an array of arrays, or a tensor of a type that lyra
    ///   does not read. The message names file, key or tensor, and offsets.
    public init(file: MappedFile, check: () throws -> Void = {}) throws {
        self = try withoutActuallyEscaping(check) { try GGUFFile(GGUFReader(file, check: $0), file) }
    }

    private init(_ reader: GGUFReader, _ file: MappedFile) throws {
        var reader = reader
        version = try reader.version()
        // The counts of tensors and of keys are adjacent. Each must fit the bytes that are left.
        let tensorCount = try reader.entryCount(of: "tensors", size: GGUFReader.tensorSize)
        let keyCount = try reader.entryCount(of: "keys", size: GGUFReader.keySize)
        (keys, metadata) = try reader.metadata(count: keyCount)
        path = file.path
        self.file = file
        alignment = try Self.alignment(metadata, source: file.path)

        let entries = try reader.tensors(count: tensorCount)
        let end = reader.cursor.offset
        let dataStart = min(end + (alignment - end % alignment) % alignment, file.bytes.count)
        let data = UnsafeRawBufferPointer(rebasing: file.bytes[dataStart...])

        var tensors: [String: StoredTensor] = [:]
        var ranges: [(name: String, range: Range<Int>)] = []
        for (index, entry) in entries.enumerated() {
            if index % GGUFReader.checkInterval == 0 { try reader.check() }
            let spec = entry.spec
            let range = try entry.range(dataStart: dataStart, dataCount: data.count, alignment, source: file.path)
            let tensor = StoredTensor(
                name: spec.name, type: spec.type, shape: spec.shape,
                bytes: UnsafeRawBufferPointer(rebasing: data[range]),
                owner: file, source: file.path)
            guard tensors.updateValue(tensor, forKey: spec.name) == nil else {
                throw LyraError(.format, "\(file.path): tensor \(shown(spec.name)) is in the file twice")
            }
            ranges.append((spec.name, range))
        }
        try Self.checkApart(ranges, source: file.path)
        self.tensors = tensors
        names = entries.map(\.spec.name)
    }

    /// Adds the tensors of another file of the same split model.
    ///
    /// - Throws: `.format` for a tensor that an earlier file has, too.
    mutating func add(tensorsOf shard: GGUFFile) throws {
        for name in shard.names {
            guard let tensor = shard.tensors[name], tensors.updateValue(tensor, forKey: name) == nil else {
                throw LyraError(.format, "\(shard.path): tensor \(shown(name)) is in another file of the model, too")
            }
        }
        names += shard.names
    }

    /// The tensor of this name, if the file has it.
    public func tensor(_ name: String) -> StoredTensor? { tensors[name] }

    private static func alignment(_ metadata: [String: GGUFValue], source: String) throws -> Int {
        guard let value = metadata[GGUFWriter.alignmentKey] else { return GGUFWriter.usualAlignment }
        guard case .uint32(let number) = value, number > 0, number <= GGUFReader.alignmentLimit,
            number & (number - 1) == 0
        else {
            throw LyraError(
                .format,
                "\(source): key \(shown(GGUFWriter.alignmentKey)) is \(value.int.map(String.init) ?? value.kind); it "
                    + "must be a power of two up to \(GGUFReader.alignmentLimit), as a uint32; the file is damaged")
        }
        return Int(number)
    }

    /// Checks that no byte of the data belongs to two tensors.
    private static func checkApart(_ ranges: [(name: String, range: Range<Int>)], source: String) throws {
        let ordered = ranges.filter { !$0.range.isEmpty }.sorted { $0.range.lowerBound < $1.range.lowerBound }
        for (before, after) in zip(ordered, ordered.dropFirst())
        where after.range.lowerBound < before.range.upperBound {
            throw LyraError(
                .format,
                "\(source): tensor \(shown(after.name)) at data bytes \(after.range) overlaps \(shown(before.name)) at "
                    + "\(before.range); the file is damaged")
        }
    }
}

extension GGUFReader.TensorEntry {
    /// The byte range of the tensor in the data, checked against the size of the data.
    fileprivate func range(
        dataStart: Int, dataCount: Int, _ alignment: Int, source: String
    ) throws -> Range<Int> {
        let tensor = "\(source): tensor \(shown(spec.name))"
        guard offset % UInt64(alignment) == 0 else {
            throw LyraError(
                .format,
                "\(tensor): its offset \(offset) is not a multiple of the alignment, \(alignment); the file is damaged")
        }
        guard offset <= UInt64(dataCount), byteCount <= dataCount - Int(offset) else {
            throw LyraError(
                .format,
                "\(tensor): \(byteCount) bytes of \(spec.type.rawValue) at data byte \(offset) do not fit the "
                    + "\(dataCount) bytes of data, which begin at byte \(dataStart); the file is damaged or truncated")
        }
        return Int(offset)..<Int(offset) + byteCount
    }
}
