import LyraBase
import LyraFormats
import LyraTensor

extension CheckpointAssembler {
    /// Puts files into the new directory and counts their bytes.
    struct Work {
        let directory: OutputDirectory
        let copies: Bool
        let check: () throws -> Void
        private(set) var summary = Summary()

        init(directory: OutputDirectory, copies: Bool, check: @escaping () throws -> Void) {
            (self.directory, self.copies, self.check) = (directory, copies, check)
        }

        /// Links or copies a file with weights into a folder, under its own name.
        ///
        /// - Returns: its place in the directory
        @discardableResult
        mutating func place(_ file: String, in folder: String) throws -> String {
            let name = FileSystem.join(folder, FileSystem.name(of: file))
            try place(file, as: name)
            return name
        }

        /// The same under another name.
        mutating func place(_ file: String, as name: String) throws {
            try check()
            let size = try MappedFile(path: file).bytes.count
            if try !copies && directory.link(file, as: name) {
                summary.linkedBytes += size
            } else {
                try directory.copy(file, as: name, check: check)
                summary.copiedBytes += size
            }
        }

        /// Adds tensors of a file that was written anew.
        mutating func countWritten(_ tensors: [RewrittenTensor]) {
            summary.writtenBytes += tensors.reduce(0) { $0.saturatingAdding($1.byteCount) }
        }

        /// A tower's weights with their index, and its texts.
        mutating func placeTower(_ tower: String, in folder: String) throws {
            directory.describe(folder, as: tower)
            let index = ShardedSafetensors.index(stem: "model")
            let texts = ["config.json", "preprocessor_config.json", "processor_config.json", index]
            for name in texts where try FileSystem.isFile(FileSystem.join(tower, name)) {
                try directory.copy(text: FileSystem.join(tower, name), as: FileSystem.join(folder, name))
            }
            for shard in try ShardedSafetensors(directory: tower).shards { try place(shard.file.path, in: folder) }
        }

        /// An adapter's weights, its configuration, and the projector that was trained with it.
        ///
        /// - Returns: the name of its directory
        mutating func placeAdapter(_ adapter: String) throws -> String {
            try FileSystem.checkPath(adapter)
            let folder = FileSystem.name(of: try FileSystem.resolved(adapter))
            directory.describe(folder, as: adapter)
            func path(_ name: String) -> String { FileSystem.join(adapter, name) }
            try directory.copy(text: path("adapter_config.json"), as: FileSystem.join(folder, "adapter_config.json"))
            let stem = "adapter_model", index = ShardedSafetensors.index(stem: stem)
            let pickle = path(stem + ".bin")
            if try FileSystem.isFile(path(index)) || FileSystem.isFile(path(stem + ".safetensors")) {
                if try FileSystem.isFile(path(index)) {
                    try directory.copy(text: path(index), as: FileSystem.join(folder, index))
                }
                let shards = try ShardedSafetensors(directory: adapter, stem: stem).shards
                for shard in shards { try place(shard.file.path, in: folder) }
            } else if try FileSystem.isFile(pickle) {
                try place(pickle, in: folder)
            } else {
                throw LyraError(.missing, "\(adapter): no adapter_model.safetensors and no adapter_model.bin")
            }
            let projector = path("non_lora_trainables.bin")
            if try FileSystem.isFile(projector) { try place(projector, in: folder) }
            return folder
        }

        /// Writes a projector as a shard of its own.
        mutating func write(
            _ tensors: [String: StoredTensor], prefix: String, _ shard: String, _ index: inout ShardIndex
        ) throws {
            let tensors = tensors.sorted { $0.key < $1.key }
            let specs = tensors.map { TensorSpec(name: prefix + $0.key, type: $0.value.type, shape: $0.value.shape) }
            if let other = tensors.first(where: { !ElementType.plain.contains($0.value.type) })?.value {
                throw LyraError(
                    .unsupported,
                    "\(other.source): tensor \(shown(other.name)) is of type \(shown(other.typeName)); a projector in "
                        + "BF16, F16 or F32 is needed")
            }
            let writer = try SafetensorsWriter(path: directory.newFile(shard), tensors: specs)
            for (name, tensor) in tensors {
                try check()
                try writer.write(prefix + name, tensor.bytes)
                summary.writtenBytes += tensor.byteCount
                index.add(prefix + name, shard, bytes: tensor.byteCount)
            }
            try writer.finish()
        }

        mutating func write(
            _ projector: FreshProjector, prefix: String, _ shard: String, _ index: inout ShardIndex
        ) throws {
            let specs = projector.tensors.map { TensorSpec(name: prefix + $0.name, type: $0.type, shape: $0.shape) }
            let writer = try SafetensorsWriter(path: directory.newFile(shard), tensors: specs)
            try projector.forEachTensor { spec, bytes in
                try check()
                try writer.write(prefix + spec.name, bytes)
                summary.writtenBytes += bytes.count
                index.add(prefix + spec.name, shard, bytes: bytes.count)
            }
            try writer.finish()
        }
    }

    /// model.safetensors.index.json: which tensor is in which shard.
    struct ShardIndex {
        private var shards: [String: String] = [:]
        private var bytes = 0

        mutating func add(_ tensor: String, _ shard: String, bytes: Int) {
            shards[tensor] = shard
            self.bytes += bytes
        }

        /// Places the language model's shards, and lists its tensors under their names.
        ///
        /// - Parameter hasVision: whether the vision tower inside the checkpoint is listed too
        mutating func addShards(of language: LanguagePart, withVision hasVision: Bool, _ work: inout Work) throws {
            let files = try language.tensorFiles()
            for file in files {
                // One file gets a shard's name: other readers would take model.safetensors for the whole model.
                let name = files.count == 1 ? "model-00001-of-00001.safetensors" : FileSystem.name(of: file.path)
                let kept = file.tensors.filter { hasVision || !$0.isVision }
                guard !kept.isEmpty else { continue }
                try work.place(file.path, as: name)
                for tensor in kept { add(tensor.name, name, bytes: tensor.bytes) }
            }
        }

        func text() throws -> String {
            let map = shards.sorted { $0.key < $1.key }.map { ($0.key, JSONValue.string($0.value)) }
            return try ExactJSON.text(
                .object([
                    ("metadata", .object([("total_size", .number(Double(bytes)))])), ("weight_map", .object(map)),
                ]))
        }
    }
}
