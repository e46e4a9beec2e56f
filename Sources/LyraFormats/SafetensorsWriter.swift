import LyraBase

/// Writes a safetensors file. The caller announces all tensors, then writes them one at a time.
///
/// The file appears under its name only with `finish()`; a writer that fails or is released earlier leaves no file.
public final class SafetensorsWriter {
    private let output: OutputFile
    private var layout: TensorLayout
    /// Where each announced tensor begins in the file.
    private var offsets: [Int]

    /// Creates the file and writes its header.
    ///
    /// - Parameters:
    ///   - tensors: All tensors that will be written.
    ///   - metadata: Strings for `__metadata__`; readers of PyTorch expect `format` to be `pt`.
    /// - Throws: `.io` when the file cannot be created or written; `.argument` for a name that is reserved or announced
    ///   twice, or an impossible shape.
    public init(path: String, tensors: [TensorSpec], metadata: [String: String] = ["format": "pt"]) throws {
        layout = try TensorLayout(tensors, path: path)
        offsets = Array(repeating: 0, count: tensors.count)
        // Large elements first, so each tensor begins at a multiple of its element size and can be used where it is
        // mapped.
        let order = tensors.indices.sorted { (-tensors[$0].type.size, $0) < (-tensors[$1].type.size, $1) }
        var fields: [String] = []
        if !metadata.isEmpty {
            let members = metadata.sorted { $0.key < $1.key }.map { ($0.key, JSONValue.string($0.value)) }
            fields.append("\"__metadata__\":" + JSONValue.object(members).text)
        }
        var end = 0
        for index in order {
            let spec = tensors[index]
            guard spec.name != "__metadata__" else {
                throw LyraError(.argument, "\(path): a tensor named __metadata__")
            }
            guard let next = end.checkedAdding(layout.byteCount(spec.name)) else {
                throw LyraError(.argument, "\(path): the tensors are too large for a file")
            }
            fields.append(
                "\(JSONText.quoted(spec.name)):{\"dtype\":\"\(spec.type.rawValue)\","
                    + "\"shape\":\(spec.shape.description),\"data_offsets\":[\(end),\(next)]}")
            offsets[index] = end
            end = next
        }
        var header = Array("{\(fields.joined(separator: ","))}".utf8)
        header += Array(repeating: UInt8(ascii: " "), count: (8 - header.count % 8) % 8)
        guard end <= Int.max - 8 - header.count else {
            throw LyraError(.argument, "\(path): the tensors are too large for a file")
        }
        for index in offsets.indices { offsets[index] += 8 + header.count }

        output = try OutputFile(path: path)
        try withUnsafeBytes(of: UInt64(header.count).littleEndian) { try output.write($0, at: 0) }
        try header.withUnsafeBytes { try output.write($0, at: 8) }
    }

    /// Writes the bytes of one announced tensor; the order does not matter.
    ///
    /// - Throws: `.argument` when the tensor was not announced, was written before, or has another size; `.io` when the
    ///   system refuses, for example on a full disk.
    public func write(_ name: String, _ bytes: UnsafeRawBufferPointer) throws {
        let index = try layout.take(name, byteCount: bytes.count)
        try output.write(bytes, at: offsets[index])
    }

    /// Writes the next bytes of one announced tensor.
    ///
    /// - Throws: `.argument` when the tensor was not announced, is complete, or has fewer bytes left; `.io` when the
    ///   system refuses.
    public func append(_ name: String, _ bytes: UnsafeRawBufferPointer) throws {
        let (index, start) = try layout.takePiece(name, byteCount: bytes.count)
        try output.write(bytes, at: offsets[index] + start)
    }

    /// Completes the file and flushes it to disk, without its name.
    ///
    /// - Throws: `.state` when a tensor is missing; `.io` when the system refuses.
    public func flush() throws {
        try layout.checkComplete()
        try output.flush()
    }

    /// Completes the file and gives it its name.
    ///
    /// - Throws: `.state` when a tensor is missing; `.io` when the system refuses.
    public func finish() throws {
        try layout.checkComplete()
        try output.commit()
    }
}
