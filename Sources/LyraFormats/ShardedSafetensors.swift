import Glibc
import LyraBase
import LyraTensor

/// The safetensors of a model directory: one file, or several shards with an index of their tensors.
public struct ShardedSafetensors: Sendable {
    /// The files, sorted by name.
    public let shards: [Safetensors]
    /// All tensors, by name.
    public let tensors: [String: StoredTensor]

    /// The largest index that is read; a model of 700 billion parameters has one of 9 MB.
    private static let indexLimit = 32 << 20
    /// The most tensors of all shards together.
    private static let tensorLimit = 1 << 18

    /// The name of the index file, which maps tensors to shards.
    public static func index(stem: String) -> String { stem + ".safetensors.index.json" }

    /// Opens `<stem>.safetensors.index.json` and the shards that it names, or else the single `<stem>.safetensors`.
    ///
    /// Tensors that the index does not name are ignored.
    ///
    /// - Throws: `.missing` when the directory has neither file, or a shard is missing; `.format` when the index is
    ///   malformed or names a tensor that its shard lacks; otherwise as `Safetensors.init(path:)`.
    public init(directory: String, stem: String = "model") throws {
        let index = FileSystem.join(directory, Self.index(stem: stem))
        let single = FileSystem.join(directory, stem + ".safetensors")
        if try FileSystem.isFile(index) {
            try self.init(index: index, directory: directory)
        } else if try FileSystem.isFile(single) {
            let file = try Safetensors(path: single)
            self.init(shards: [file], tensors: file.tensors)
        } else {
            throw LyraError(
                .missing,
                "\(directory): no \(stem).safetensors and no \(Self.index(stem: stem)); is it the directory of a model?"
            )
        }
    }

    private init(index path: String, directory: String) throws {
        let file = try MappedFile(path: path)
        guard file.bytes.count <= Self.indexLimit else {
            throw LyraError(
                .format, "\(path): the index has \(file.bytes.count) bytes; at most \(Self.indexLimit) are allowed")
        }
        // Keyed by the bytes of the name: two file names can be equal as Strings, by Unicode equivalence.
        var shards: [[UInt8]: Safetensors] = [:]
        var tensors: [String: StoredTensor] = [:]
        var found = false
        try JSONScanner.read(file.bytes, source: path) { scanner in
            try scanner.object { scanner, key in
                guard key.elementsEqual("weight_map".utf8) else { return try scanner.skip() }
                found = true
                try scanner.object { scanner, key in
                    let name = String(decoding: key, as: UTF8.self)
                    guard try scanner.peek() == UInt8(ascii: "\"") else {
                        throw scanner.error("weight_map: \(shown(name)) is not a string")
                    }
                    let shard = try scanner.text(limit: Int(NAME_MAX))
                    guard tensors.count < Self.tensorLimit else {
                        throw LyraError(.unsupported, "\(path): more than \(Self.tensorLimit) tensors")
                    }
                    let bytes = Array(shard.utf8)
                    let file = try shards[bytes] ?? Self.open(shard, directory, index: path)
                    shards[bytes] = file
                    guard let tensor = file.tensor(name) else {
                        throw LyraError(
                            .format,
                            "\(path): tensor \(shown(name)) should be in \(shown(shard)), which does not have it; "
                                + "index and shards belong to different models")
                    }
                    tensors[name] = tensor
                }
            }
        }
        withExtendedLifetime(file) {}
        guard found else { throw LyraError(.format, "\(path): the key \"weight_map\" is missing") }
        self.init(
            shards: shards.sorted { $0.key.lexicographicallyPrecedes($1.key) }.map(\.value), tensors: tensors)
    }

    private static func open(_ name: String, _ directory: String, index: String) throws -> Safetensors {
        // An index may not lead out of its directory.
        guard !name.isEmpty, name != ".", !name.contains(".."), !name.utf8.contains(UInt8(ascii: "/")),
            !name.utf8.contains(0)
        else {
            throw LyraError(
                .format, "\(index): weight_map names the file \(shown(name)), which is not a plain file name")
        }
        let shard = FileSystem.join(directory, SystemPath.string(name.utf8))
        guard try FileSystem.isFile(shard) else {
            throw LyraError(.missing, "\(shard): \(index) names this shard, but the file is missing; download it")
        }
        return try Safetensors(path: shard)
    }

    private init(shards: [Safetensors], tensors: [String: StoredTensor]) {
        self.shards = shards
        self.tensors = tensors
    }

    /// The names of all tensors, sorted.
    public var names: [String] { tensors.keys.sorted() }

    /// The tensor of this name, if the model has it.
    public func tensor(_ name: String) -> StoredTensor? { tensors[name] }
}
