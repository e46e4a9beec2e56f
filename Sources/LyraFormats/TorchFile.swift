import LyraBase
import LyraTensor

/// A file that torch.save wrote, in its zip form or the legacy form from before PyTorch 1.6.
///
/// Nothing in the file is executed: the pickle is read by `PickleMachine`, which knows tensors, dicts, lists and plain
/// values, and refuses all else. Tensors are mapped in place, not copied.
///
/// Layout: `torch/serialization.py`, `_save` and `_legacy_save`.
public struct TorchFile: Sendable {
    /// The saved object.
    public let root: TorchValue
    /// The mapping with the tensors' bytes.
    public let file: MappedFile

    /// Opens the file at `path`; errors as for `init(file:)` and `MappedFile.init(path:)`.
    public init(path: String) throws {
        try self.init(file: MappedFile(path: path))
    }

    /// Reads a mapped file.
    ///
    /// - Throws: `.unsupported`, by name and offset, for a pickle opcode or global that a state dict does not need, a
    ///   compressed archive, another byte order, a tensor that is not contiguous; `.format` when the file is damaged or
    ///   is not a torch.save file.
    public init(file: MappedFile) throws {
        self.file = file
        let bytes = file.bytes
        if bytes.starts(with: [0x50, 0x4B, 0x03, 0x04]) {
            root = try Self.readZip(file)
        } else if bytes.first == PickleOpcode.proto.rawValue {
            root = try Self.readLegacy(file)
        } else if bytes.count >= 262, bytes[257..<262].elementsEqual("ustar".utf8) {
            throw LyraError(
                .unsupported,
                "\(file.path): the tar format of torch.save from before PyTorch 0.1.10; load and save it again")
        } else {
            throw LyraError(.format, "\(file.path): not a torch.save file: neither a zip archive nor a pickle")
        }
    }

    /// All tensors in a container of the file. A tensor's name is its path of keys from the container, joined by dots.
    ///
    /// - Parameter path: The keys of the container: `["generator"]` in `{"generator": {"conv.weight": …}}`; empty for
    ///   the whole file.
    /// - Throws: `.missing` when the container does not exist; `.format` when two tensors get the same name.
    public func tensors(under path: [String] = []) throws -> [String: StoredTensor] {
        var place = root
        for (depth, key) in path.enumerated() {
            guard let next = place[key] else {
                throw LyraError(
                    .missing,
                    "\(file.path): nothing is saved under \(shown(path.prefix(depth + 1).joined(separator: ".")))")
            }
            place = next
        }
        var result: [String: StoredTensor] = [:]
        try collect(place, name: "", into: &result)
        return result
    }

    private func collect(_ value: TorchValue, name: String, into result: inout [String: StoredTensor]) throws {
        let prefix = name.isEmpty ? "" : name + "."
        switch value {
        case .tensor(let tensor):
            guard result.updateValue(tensor, forKey: name) == nil else {
                throw LyraError(.format, "\(file.path): two tensors have the name \(shown(name))")
            }
        case .dict(let items):
            for (key, item) in items { try collect(item, name: prefix + key, into: &result) }
        case .list(let items):
            for (index, item) in items.enumerated() { try collect(item, name: prefix + String(index), into: &result) }
        case .int, .float, .string, .bool, .none: break
        }
    }

    // MARK: Zip form

    private static func readZip(_ file: MappedFile) throws -> TorchValue {
        let archive = try ZipArchive(file)
        let pickles = archive.entries.keys.filter { $0.hasSuffix("/data.pkl") }
        guard let pickle = pickles.first, pickles.count == 1, let range = archive.entries[pickle] else {
            throw LyraError(
                .format, "\(file.path): the zip archive has \(pickles.count) entries data.pkl; torch.save writes one")
        }
        let prefix = pickle.dropLast("data.pkl".count)
        // Files from before PyTorch 2.1 lack this entry. They are taken for little-endian.
        if let order = archive.entries[prefix + "byteorder"] {
            let text = file.bytes[order]
            guard text.elementsEqual("little".utf8) else {
                throw LyraError(
                    .unsupported,
                    "\(file.path): its byteorder must be little, but is "
                        + shown(String(decoding: text.prefix(16), as: UTF8.self)))
            }
        }
        var storages: [String: Range<Int>] = [:]
        let data = prefix + "data/"
        for (name, range) in archive.entries where name.hasPrefix(data) {
            storages[String(name.dropFirst(data.count))] = range
        }
        var cursor = try ByteCursor(file, range, section: "the pickle \(pickle)")
        let (value, machine) = try PickleMachine.read(&cursor)
        var builder = TorchValueBuilder(machine: machine, file: file, storages: storages, pickleSize: cursor.position)
        return try builder.build(value)
    }

    // MARK: Legacy form

    /// The number in the first pickle of a legacy file, 0x1950a86a20f9469cfc6c, least significant byte first.
    private static let legacyMagic: [UInt8] = [0x6C, 0xFC, 0x9C, 0x46, 0xF9, 0x20, 0x6A, 0xA8, 0x50, 0x19]
    private static let legacyVersion = 1001

    private static func readLegacy(_ file: MappedFile) throws -> TorchValue {
        var cursor = try ByteCursor(file, 0..<file.bytes.count, section: "the pickle")
        guard case .longInt(legacyMagic) = try PickleMachine.read(&cursor).value else {
            throw LyraError(.format, "\(file.path): a pickle, but not one of torch.save: its magic number is missing")
        }
        guard case .int(legacyVersion) = try PickleMachine.read(&cursor).value else {
            throw LyraError(.unsupported, "\(file.path): not version \(legacyVersion) of the legacy torch.save form")
        }
        let (info, infoMachine) = try PickleMachine.read(&cursor)
        guard case .bool(true) = infoMachine.lookUp("little_endian", in: info) else {
            throw LyraError(.unsupported, "\(file.path): not written on a little-endian machine")
        }
        let start = cursor.position
        let (value, machine) = try PickleMachine.read(&cursor)
        let pickleSize = cursor.position - start
        let storages = try legacyStorages(&cursor, machine: machine)
        var builder = TorchValueBuilder(machine: machine, file: file, storages: storages, pickleSize: pickleSize)
        return try builder.build(value)
    }

    /// Finds the storages after the pickles: for each key of a list, a 64-bit element count and the elements.
    private static func legacyStorages(
        _ cursor: inout ByteCursor, machine: PickleMachine
    ) throws -> [String: Range<Int>] {
        var described: [String: PickleStorage] = [:]
        for storage in machine.storages { described[storage.key] = storage }
        let (list, listMachine) = try PickleMachine.read(&cursor)
        guard let keys = listMachine.items(list, .list) else {
            throw LyraError(
                .format, "\(cursor.source): the list of storages before byte \(cursor.offset) is not a list")
        }
        var result: [String: Range<Int>] = [:]
        for case .string(let key) in keys {
            let place = cursor.offset
            let count: Int64 = try cursor.integer()
            guard let storage = described[key], storage.count == count,
                let size = storage.type.byteCount(of: [storage.count])
            else {
                throw LyraError(
                    .format,
                    "\(cursor.source): the storage \(shown(key)) at byte \(place) has \(count) elements, but the "
                        + "pickle states another number; the file is damaged")
            }
            let start = cursor.offset
            _ = try cursor.take(size)
            result[key] = start..<start + size
        }
        return result
    }
}
