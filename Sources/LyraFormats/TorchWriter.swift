import LyraBase

/// Writes a dict of tensors in the zip form of torch.save: `torch.load` and `TorchFile` read it.
///
/// The caller announces all tensors, then writes them one at a time. The file appears under its name only with
/// `finish()`; a writer that fails or is released earlier leaves no file. Layout: `torch/serialization.py`, `_save`.
public final class TorchWriter {
    /// The data of every entry begin at a multiple of this, as PyTorch's do.
    static let alignment = 64

    private struct Entry {
        let name: String
        let size: Int
        /// Where its local header begins.
        let offset: Int
        let extra: Int
        var checksum: UInt32 = 0

        var dataOffset: Int { offset + 30 + name.utf8.count + extra }
    }

    private let output: OutputFile
    private var layout: TensorLayout
    /// The tensors' entries in the order in which they were announced, then those of the pickle and the format's marks.
    private var entries: [Entry] = []
    private var end = 0
    private var hasDirectory = false

    /// Creates the file and writes everything except the tensors.
    ///
    /// - Parameters:
    ///   - tensors: All tensors that will be written.
    ///   - keys: Keys of dicts around the dict of tensors: `["generator"]` makes `{"generator": {name: tensor}}`.
    /// - Throws: `.io` when the file cannot be created or written; `.argument` for a name that is announced twice or
    ///   an impossible shape; `.unsupported` beyond 4 GiB or 65,000 tensors, which would need zip64.
    public init(path: String, tensors: [TensorSpec], under keys: [String] = []) throws {
        layout = try TensorLayout(tensors, path: path)
        guard tensors.count <= 65_000 else {
            throw LyraError(.unsupported, "\(path): \(tensors.count) tensors; a zip archive without zip64 takes 65,000")
        }
        output = try OutputFile(path: path)
        for (index, spec) in tensors.enumerated() {
            try plan("data/\(index)", size: layout.byteCount(spec.name))
        }
        let small: [(String, [UInt8])] = [
            ("data.pkl", PickleWriter.stateDict(tensors, under: keys)), ("byteorder", Array("little".utf8)),
            (".format_version", Array("1".utf8)), (".storage_alignment", Array("\(Self.alignment)".utf8)),
            ("version", Array("3\n".utf8)),
        ]
        for (name, content) in small {
            try plan(name, size: content.count)
            try content.withUnsafeBytes { try write(entry: entries.count - 1, $0) }
        }
    }

    /// Writes the bytes of one announced tensor; the order does not matter.
    ///
    /// - Throws: `.argument` when the tensor was not announced, was written before, or has another size; `.io` when the
    ///   system refuses, for example on a full disk.
    public func write(_ name: String, _ bytes: UnsafeRawBufferPointer) throws {
        try write(entry: layout.take(name, byteCount: bytes.count), bytes)
    }

    /// Completes the file and flushes it to disk, without its name.
    ///
    /// - Throws: `.state` when a tensor is missing; `.io` when the system refuses.
    public func flush() throws {
        try writeDirectory()
        try output.flush()
    }

    /// Completes the file and gives it its name.
    ///
    /// - Throws: `.state` when a tensor is missing; `.io` when the system refuses.
    public func finish() throws {
        try writeDirectory()
        try output.commit()
    }

    private func writeDirectory() throws {
        guard !hasDirectory else { return }
        try layout.checkComplete()
        var directory: [UInt8] = []
        for entry in entries {
            directory.append(UInt32(0x0201_4B50))
            directory.append(UInt16(20))  // made by
            appendCommon(entry, to: &directory)
            directory.append(UInt16(0))  // extra field
            directory.append(UInt16(0))  // comment
            directory.append(UInt16(0))  // disk
            directory.append(UInt16(0))  // internal attributes
            directory.append(UInt32(0))  // external attributes
            directory.append(UInt32(truncatingIfNeeded: entry.offset))
            directory += Array(entry.name.utf8)
        }
        let size = directory.count
        directory.append(UInt32(0x0605_4B50))
        directory.append(UInt32(0))  // disks
        directory.append(UInt16(truncatingIfNeeded: entries.count))
        directory.append(UInt16(truncatingIfNeeded: entries.count))
        directory.append(UInt32(truncatingIfNeeded: size))
        directory.append(UInt32(truncatingIfNeeded: end))
        directory.append(UInt16(0))  // comment
        try directory.withUnsafeBytes { try output.write($0, at: end) }
        hasDirectory = true
    }

    /// Places an entry after the earlier ones.
    private func plan(_ name: String, size: Int) throws {
        let name = "archive/" + name
        // The extra field that pads to the alignment begins with 4 bytes of its own.
        let head = end + 30 + name.utf8.count + 4
        let extra = 4 + (Self.alignment - head % Self.alignment) % Self.alignment
        let entry = Entry(name: name, size: size, offset: end, extra: extra)
        // The zip directory must also end below 4 GiB. 65,000 entries of it take less than 16 MiB.
        guard size <= Int(UInt32.max) - (16 << 20), entry.dataOffset + size <= Int(UInt32.max) - (16 << 20) else {
            throw LyraError(
                .unsupported, "\(output.path): more than 4 GiB, which would need zip64; write safetensors instead")
        }
        end = entry.dataOffset + size
        entries.append(entry)
    }

    private func write(entry index: Int, _ bytes: UnsafeRawBufferPointer) throws {
        entries[index].checksum = CRC32.checksum(bytes)
        let entry = entries[index]
        var header: [UInt8] = []
        header.append(UInt32(0x0403_4B50))
        appendCommon(entry, to: &header)
        header.append(UInt16(truncatingIfNeeded: entry.extra))
        header += Array(entry.name.utf8)
        header.append(UInt16(0x4246))  // "FB", PyTorch's padding field
        header.append(UInt16(truncatingIfNeeded: entry.extra - 4))
        header += Array(repeating: UInt8(ascii: "Z"), count: entry.extra - 4)
        try header.withUnsafeBytes { try output.write($0, at: entry.offset) }
        try output.write(bytes, at: entry.dataOffset)
    }

    /// Appends the fields that local headers and directory entries share, from "version needed" to the name's length.
    private func appendCommon(_ entry: Entry, to record: inout [UInt8]) {
        record.append(UInt16(20))  // version needed
        record.append(UInt16(0x0800))  // the name is UTF-8
        record.append(UInt16(0))  // stored
        record.append(UInt16(0))  // time
        record.append(UInt16(0x21))  // date: 1 January 1980
        record.append(entry.checksum)
        record.append(UInt32(truncatingIfNeeded: entry.size))
        record.append(UInt32(truncatingIfNeeded: entry.size))
        record.append(UInt16(truncatingIfNeeded: entry.name.utf8.count))
    }
}

extension [UInt8] {
    /// Appends an integer, least significant byte first.
    mutating func append<T: FixedWidthInteger & UnsignedInteger>(_ value: T) {
        for shift in stride(from: 0, to: T.bitWidth, by: 8) { append(UInt8(truncatingIfNeeded: value >> T(shift))) }
    }
}
