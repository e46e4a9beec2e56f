import LyraTensor

/// The safetensors of a model directory: one file, or several with an index that says which tensor is in which.
public struct ShardedSafetensors: Sendable {
    /// The names of all tensors, sorted.
    public let names: [String]
    /// The files, sorted by name.
    public let shards: [Safetensors]
    /// All tensors, by name.
    public let tensors: [String: StoredTensor]

    private struct Index: Decodable {
        let weightMap: [String: String]

        enum CodingKeys: String, CodingKey {
            case weightMap = "weight_map"
        }
    }

    /// The name of the file that says which tensor is in which shard.
    public static func index(stem: String) -> String { stem + ".safetensors.index.json" }

    /// Opens `<stem>.safetensors.index.json` and the shards that it names, or else the single `<stem>.safetensors`.
    ///
    /// Tensors of a shard that the index does not name are left out.
    /// - Throws: `.missing` when the directory has neither file, or a shard is not there; `.format` when the index is not
    ///   what it should be or names a tensor that its shard does not have; else as `Safetensors.init(path:)`.
    public init(directory: String, stem: String = "model") throws {
        let index = FileSystem.join(directory, Self.index(stem: stem))
        let single = FileSystem.join(directory, stem + ".safetensors")
        if FileSystem.isFile(index) {
            try self.init(index: index, directory: directory)
        } else if FileSystem.isFile(single) {
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
        let index = try JSONFile.decode(Index.self, path: path)
        var files: [String: Safetensors] = [:]
        for name in Set(index.weightMap.values).sorted() {
            // An index may not lead out of its directory.
            guard !name.isEmpty, name != ".", !name.contains(".."), !name.utf8.contains(UInt8(ascii: "/")),
                !name.utf8.contains(0)
            else {
                throw LyraError(
                    .format, "\(path): weight_map names the file \(shown(name)), which is not a plain file name")
            }
            let shard = FileSystem.join(directory, SystemPath.string(name.utf8))
            guard FileSystem.isFile(shard) else {
                throw LyraError(.missing, "\(shard): this shard is named by \(path) but is not there; fetch it")
            }
            files[name] = try Safetensors(path: shard)
        }
        var tensors: [String: StoredTensor] = [:]
        for (name, file) in index.weightMap {
            guard let tensor = files[file]?.tensor(name) else {
                throw LyraError(
                    .format,
                    "\(path): tensor \(shown(name)) should be in \(shown(file)), which does not have it; index and shards "
                        + "are not of one model")
            }
            tensors[name] = tensor
        }
        self.init(shards: files.sorted { $0.key < $1.key }.map(\.value), tensors: tensors)
    }

    private init(shards: [Safetensors], tensors: [String: StoredTensor]) {
        self.shards = shards
        self.tensors = tensors
        names = tensors.keys.sorted()
    }

    /// The tensor of this name, if the model has it.
    public func tensor(_ name: String) -> StoredTensor? { tensors[name] }
}
