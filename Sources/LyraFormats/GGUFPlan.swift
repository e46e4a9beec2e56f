import LyraBase

/// The header of a GGUF file and the offsets of its tensors, computed before the file is created.
struct GGUFPlan {
    let layout: TensorLayout
    /// All bytes before the data, zero-padded to the alignment.
    private(set) var header: [UInt8] = []
    /// Where each tensor begins in the file, in the order in which the tensors were announced.
    private(set) var offsets: [Int] = []
    /// Bytes of the whole file.
    private(set) var fileSize = 0
    /// Bytes of zeros that pad the last tensor to the alignment.
    private(set) var trailing = 0

    /// - Throws: As `GGUFWriter.init(path:metadata:tensors:alignment:)`, all but `.io`.
    init(path: String, metadata: [(key: String, value: GGUFValue)], tensors: [TensorSpec], alignment: Int) throws {
        guard alignment > 0, alignment <= GGUFReader.alignmentLimit, alignment & (alignment - 1) == 0 else {
            throw LyraError(
                .argument,
                "\(path): the alignment is \(alignment); it must be a power of two up to \(GGUFReader.alignmentLimit)")
        }
        let metadata = try Self.completed(metadata, alignment: alignment, path: path)
        layout = try TensorLayout(tensors, path: path, blocks: true)
        header += Array("GGUF".utf8)
        header.append(UInt32(3))
        header.append(UInt64(tensors.count))
        header.append(UInt64(metadata.count))
        for (key, value) in metadata {
            header.append(gguf: key)
            value.append(to: &header)
        }
        var end = 0
        for spec in tensors {
            try Self.appendEntry(spec, offset: end, to: &header, path: path)
            offsets.append(end)
            trailing = Self.padding(layout.byteCount(spec.name), alignment)
            end = try Self.sum(end, layout.byteCount(spec.name), trailing, path: path)
        }
        guard header.count <= GGUFReader.headerLimit else {
            throw LyraError(
                .unsupported,
                "\(path): metadata and tensor list take \(header.count) bytes; lyra reads at most "
                    + "\(GGUFReader.headerLimit)")
        }
        header.append(contentsOf: repeatElement(0, count: Self.padding(header.count, alignment)))
        fileSize = try Self.sum(header.count, end, 0, path: path)
        for index in offsets.indices { offsets[index] += header.count }
    }

    /// The metadata, with `general.alignment` added if the alignment is not the default.
    private static func completed(
        _ metadata: [(key: String, value: GGUFValue)], alignment: Int, path: String
    ) throws -> [(key: String, value: GGUFValue)] {
        let ours = GGUFValue.uint32(UInt32(alignment))
        var seen: Set<String> = []
        for (key, value) in metadata {
            guard !key.isEmpty, key.utf8.count <= GGUFReader.nameLimit, key.utf8.allSatisfy({ $0 < 128 }) else {
                throw LyraError(
                    .argument,
                    "\(path): \(shown(key)) is no key: a key has 1 to \(GGUFReader.nameLimit) ASCII characters")
            }
            guard seen.insert(key).inserted else {
                throw LyraError(.argument, "\(path): the key \(shown(key)) is given twice")
            }
            guard key != GGUFWriter.alignmentKey || value == ours else {
                throw LyraError(
                    .argument, "\(path): the key \(shown(key)) must be the alignment, \(alignment), as a uint32")
            }
        }
        let known = alignment == GGUFWriter.usualAlignment || seen.contains(GGUFWriter.alignmentKey)
        return known ? metadata : metadata + [(GGUFWriter.alignmentKey, ours)]
    }

    /// Appends the entry of a tensor: name, sizes, type, offset in the data.
    private static func appendEntry(
        _ spec: TensorSpec, offset: Int, to header: inout [UInt8], path: String
    ) throws {
        guard !spec.name.isEmpty, spec.name.utf8.count <= GGUFReader.nameLimit else {
            throw LyraError(
                .argument,
                "\(path): \(shown(spec.name)) is no tensor name: a name has 1 to \(GGUFReader.nameLimit) bytes")
        }
        guard let type = spec.type.ggml else {
            throw LyraError(
                .unsupported,
                "\(path): tensor \(shown(spec.name)) is \(spec.type.rawValue), a type that GGUF lacks; convert the "
                    + "tensor to another type")
        }
        guard spec.shape.count <= GGUFWriter.axisLimit else {
            throw LyraError(
                .unsupported,
                "\(path): tensor \(shown(spec.name)) has \(spec.shape.count) axes; GGUF allows "
                    + "\(GGUFWriter.axisLimit): merge axes")
        }
        header.append(gguf: spec.name)
        header.append(UInt32(spec.shape.count))
        for size in spec.shape.reversed() { header.append(UInt64(size)) }
        header.append(type)
        header.append(UInt64(offset))
    }

    /// Bytes from `size` to the next multiple of the alignment.
    private static func padding(_ size: Int, _ alignment: Int) -> Int { (alignment - size % alignment) % alignment }

    private static func sum(_ a: Int, _ b: Int, _ c: Int, path: String) throws -> Int {
        guard let sum = a.checkedAdding(b)?.checkedAdding(c) else {
            throw LyraError(.argument, "\(path): the tensors are too large for a file")
        }
        return sum
    }
}

extension GGUFValue {
    /// Appends the type and the value, encoded as in a GGUF file.
    func append(to bytes: inout [UInt8]) {
        switch self {
        case .uint8(let value): bytes.append(gguf: .uint8, value)
        case .int8(let value): bytes.append(gguf: .int8, value)
        case .uint16(let value): bytes.append(gguf: .uint16, value)
        case .int16(let value): bytes.append(gguf: .int16, value)
        case .uint32(let value): bytes.append(gguf: .uint32, value)
        case .int32(let value): bytes.append(gguf: .int32, value)
        case .uint64(let value): bytes.append(gguf: .uint64, value)
        case .int64(let value): bytes.append(gguf: .int64, value)
        case .float32(let value): bytes.append(gguf: .float32, value)
        case .float64(let value): bytes.append(gguf: .float64, value)
        case .bool(let value): bytes.append(gguf: .bool, UInt8(value ? 1 : 0))
        case .string(let value):
            bytes.append(GGUFType.string.rawValue)
            bytes.append(gguf: value)
        case .uint8s(let values): bytes.append(gguf: .uint8, array: values)
        case .int8s(let values): bytes.append(gguf: .int8, array: values)
        case .uint16s(let values): bytes.append(gguf: .uint16, array: values)
        case .int16s(let values): bytes.append(gguf: .int16, array: values)
        case .uint32s(let values): bytes.append(gguf: .uint32, array: values)
        case .int32s(let values): bytes.append(gguf: .int32, array: values)
        case .uint64s(let values): bytes.append(gguf: .uint64, array: values)
        case .int64s(let values): bytes.append(gguf: .int64, array: values)
        case .float32s(let values): bytes.append(gguf: .float32, array: values)
        case .float64s(let values): bytes.append(gguf: .float64, array: values)
        case .bools(let values): bytes.append(gguf: .bool, array: values.map { UInt8($0 ? 1 : 0) })
        case .strings(let values):
            bytes.append(gguf: .string, count: values.count)
            for value in values { bytes.append(gguf: value) }
        }
    }
}

/// Numbers are copied as they lie in memory: files and machines are both little-endian.
extension [UInt8] {
    /// Appends the length of a text and its bytes.
    fileprivate mutating func append(gguf text: String) {
        append(UInt64(text.utf8.count))
        append(contentsOf: text.utf8)
    }

    fileprivate mutating func append<T: BitwiseCopyable>(gguf type: GGUFType, _ value: T) {
        append(type.rawValue)
        Swift.withUnsafeBytes(of: value) { append(contentsOf: $0) }
    }

    fileprivate mutating func append(gguf element: GGUFType, count: Int) {
        append(GGUFType.array.rawValue)
        append(element.rawValue)
        append(UInt64(count))
    }

    fileprivate mutating func append<T: BitwiseCopyable>(gguf element: GGUFType, array: [T]) {
        append(gguf: element, count: array.count)
        array.withUnsafeBytes { append(contentsOf: $0) }
    }
}
