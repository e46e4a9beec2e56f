import LyraBase
import LyraFormats
import LyraModel
import LyraTensor

extension ModelFiles {
    /// What becomes a shard of the new checkpoint.
    private struct Shard {
        enum Content {
            /// A file that stays as it is.
            case file(path: String, [StoredTensor])
            case tensors([RewrittenTensor])
        }

        let content: Content
        /// The file's own name, if it does not count shards: `speech_generator.safetensors`.
        let ownName: String?
    }

    /// The files of language model, projectors and speech generator, with the index of their tensors.
    mutating func placeMain(shardBytes: Int) throws {
        let shards = try shards(limit: shardBytes)
        let count = shards.count { $0.ownName == nil }
        var number = 0
        var index = CheckpointAssembler.ShardIndex()
        for shard in shards {
            if shard.ownName == nil { number += 1 }
            let name = shard.ownName ?? "model-\(Self.digits(number))-of-\(Self.digits(count)).safetensors"
            switch shard.content {
            case .file(let path, let tensors):
                try work.place(path, as: name)
                for tensor in tensors { index.add(tensor.name, name, bytes: tensor.byteCount) }
            case .tensors(let items):
                try write(items, as: name)
                for item in items { index.add(item.spec.name, name, bytes: item.byteCount) }
            }
        }
        try work.directory.put("model.safetensors.index.json", index.text())
    }

    private static func digits(_ number: Int) -> String {
        String(repeating: "0", count: max(0, 5 - String(number).count)) + String(number)
    }

    /// The old files in order, those with new tensors cut into shards, then the tensors that are added.
    private func shards(limit: Int) throws -> [Shard] {
        let main = model.tensors(.main)
        var shards: [Shard] = []
        for file in ModelWriter.files(main.values) {
            let tensors = main.values.filter { $0.source.utf8.elementsEqual(file.utf8) }.sorted { $0.isBefore($1) }
            let name = FileSystem.name(of: file), ownName = Self.countsShards(name) ? nil : name
            guard changes.concern(file: file) else {
                shards.append(Shard(content: .file(path: file, tensors), ownName: ownName))
                continue
            }
            let parts = Self.split(try tensors.map { try changes.item($0, name: $0.name) }, limit: limit)
            shards += parts.map { Shard(content: .tensors($0), ownName: parts.count == 1 ? ownName : nil) }
        }
        let like = main["model.embed_tokens.weight"]
        let isGenerators = { (tensor: NewTensor) in tensor.name.hasPrefix(CheckpointLoader.speechGeneratorPrefix) }
        let generator = try changes.additions.filter(isGenerators).map { try changes.item(adding: $0, like: like) }
        let added = try changes.additions.filter { !isGenerators($0) }.map { try changes.item(adding: $0, like: like) }
        // The published release has the speech generator in a file of its own.
        let parts = Self.split(generator, limit: limit), name = "speech_generator.safetensors"
        let isOwn = parts.count == 1 && !shards.contains { $0.ownName == name }
        shards += parts.map { Shard(content: .tensors($0), ownName: isOwn ? name : nil) }
        let others = Self.split(added + (try foreignSoundProjector()), limit: limit)
        return shards + others.map { Shard(content: .tensors($0), ownName: nil) }
    }

    /// The tensors of a sound projector that the caller gave: they become the checkpoint's own.
    private func foreignSoundProjector() throws -> [RewrittenTensor] {
        let prefix = "model.mm_audio_projector.", own = model.tensors(.main)
        guard !model.outsideFiles(.soundProjector).isEmpty else { return [] }
        let tensors = model.tensors(.soundProjector).sorted { $0.key < $1.key }
        if let name = tensors.map({ prefix + $0.key }).first(where: { own[$0] != nil }) {
            throw LyraError(
                .argument,
                "\(model.source): has the tensor \(name) already, so another sound projector cannot be put into it")
        }
        return try tensors.map { try changes.item($0.value, name: prefix + $0.key) }
    }

    /// Whether a file's name is that of a whole model or numbers a shard: `model-00001-of-00002.safetensors`.
    private static func countsShards(_ name: String) -> Bool {
        guard name != "model.safetensors" else { return true }
        let parts = name.split(separator: "-")
        return parts.count == 4 && parts[0] == "model" && parts[2] == "of"
    }

    /// Cuts tensors into runs of at most `limit` bytes; a larger tensor is a run of its own.
    private static func split(_ items: [RewrittenTensor], limit: Int) -> [[RewrittenTensor]] {
        var parts: [[RewrittenTensor]] = [], bytes = 0
        for item in items {
            if parts.isEmpty || bytes.saturatingAdding(item.byteCount) > limit {
                parts.append([])
                bytes = 0
            }
            parts[parts.count - 1].append(item)
            bytes = bytes.saturatingAdding(item.byteCount)
        }
        return parts
    }
}
