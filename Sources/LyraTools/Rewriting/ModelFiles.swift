import LyraBase
import LyraFormats
import LyraModel
import LyraTensor

/// Puts the files of a changed copy of a checkpoint into their places.
struct ModelFiles {
    let model: ModelWriter
    let changes: FileChanges
    var work: CheckpointAssembler.Work
    let check: () throws -> Void
    /// Members of config.json that change.
    private var edits: [(key: String, value: JSONValue)] = []

    init(
        model: ModelWriter, changes: FileChanges, work: CheckpointAssembler.Work, check: @escaping () throws -> Void
    ) {
        (self.model, self.changes, self.work, self.check) = (model, changes, work, check)
    }

    var summary: CheckpointAssembler.Summary { work.summary }
    private var configuration: LyraConfiguration { model.checkpoint.configuration }
    private func path(_ name: String) -> String { FileSystem.join(model.source, name) }

    mutating func placeAll(_ requested: ModelChanges, shardBytes: Int) throws {
        edits = requested.configuration
        try placeTexts()
        try placeTower(.visionTower, configuration.visionTower, "mm_vision_tower", AssembledConfiguration.visionTower)
        try placeTower(.speechTower, configuration.speechTower, "mm_speech_tower", AssembledConfiguration.speechTower)
        try placeSoundTower()
        try placeVocoder()
        for index in model.contents.adapters.indices where !requested.omittedAdapters.contains(index) {
            try placeAdapter(index)
        }
        // Last, because the shards are large.
        try placeMain(shardBytes: shardBytes)
        try placeConfiguration()
    }

    // MARK: Texts

    /// Files of a checkpoint that hold no tensors, besides config.json and the index.
    private static let texts = [
        "generation_config.json", "vocab.json", "merges.txt", "added_tokens.json", "special_tokens_map.json",
        "tokenizer.json", "tokenizer_config.json", "chat_template.json", "chat_template.jinja",
        "preprocessor_config.json", "processor_config.json", "video_preprocessor_config.json", "LICENSE",
    ]

    private func placeTexts() throws {
        for name in Self.texts where try FileSystem.isFile(path(name)) {
            try work.directory.copy(text: path(name), as: name)
        }
    }

    /// The texts that were read for a part.
    private func placeTexts(of part: ModelPart, in folder: String) throws {
        for (name, bytes) in model.contents.texts where name.hasPrefix(part.folder) {
            let file = FileSystem.join(folder, String(name.dropFirst(part.folder.count)))
            try work.directory.put(file, bytes: Array(bytes.elements))
        }
    }

    private func placeConfiguration() throws {
        let name = "config.json"
        guard !edits.isEmpty else { return try work.directory.copy(text: path(name), as: name) }
        let bytes = try MappedFile.contents(path: path(name), limit: JSONFile.limit(of: name))
        var json = try NamedBytes(name: path(name), bytes: bytes).json()
        for (key, value) in edits { json = json.setting(key, to: value) }
        try work.directory.put(name, ExactJSON.text(json))
    }

    // MARK: Parts beside the language model

    /// The place of a part in the new directory: the one that config.json names if it is inside the directory, else the
    /// usual one, which config.json then names.
    private mutating func place(named name: String, key: String, usual: String) -> String {
        let components = name.split(separator: "/", omittingEmptySubsequences: false)
        let isInside = !FileSystem.isAbsolute(name) && !components.contains { ["", ".", ".."].contains($0) }
        if isInside { return name }
        edits.append((key, .string(usual)))
        return usual
    }

    private mutating func placeTower(_ part: ModelPart, _ name: String?, _ key: String, _ usual: String) throws {
        let files = model.outsideFiles(part)
        guard let name, !model.tensors(part).isEmpty else { return }
        // The texts lie in the checkpoint itself. `ModelWriter.resolve` refuses changes of a tower beside it.
        guard name != LyraConfiguration.ownDirectory else { return }
        let folder = place(named: name, key: key, usual: usual)
        try placeTexts(of: part, in: folder)
        guard let first = files.first else { return }
        try placeFiles(of: FileSystem.parent(of: first), stem: "model", in: folder)
    }

    private mutating func placeSoundTower() throws {
        guard let file = model.outsideFiles(.soundTower).first else { return }
        let usual = "model_zoo/audio/imagebind_huge.pth"
        let name = place(named: configuration.soundTower ?? usual, key: "mm_audio_tower", usual: usual)
        try placeFile(file, as: name)
    }

    private mutating func placeVocoder() throws {
        let folder = "model_zoo/audio/vocoder"
        if let file = model.outsideFiles(.vocoder).first {
            try placeTexts(of: .vocoder, in: folder)
            try placeFile(file, as: FileSystem.join(folder, FileSystem.name(of: file)), under: ["generator"])
        } else if let file = try model.unusedVocoder() {
            // Without a speech generator it was not opened; the new checkpoint may have one.
            let name = "config.json"
            try work.directory.copy(
                text: FileSystem.join(FileSystem.parent(of: file), name), as: FileSystem.join(folder, name))
            try work.place(file, in: folder)
        }
    }

    private mutating func placeAdapter(_ index: Int) throws {
        let files = model.outsideFiles(.adapter(index)), projectors = model.outsideFiles(.adapterProjector(index))
        guard let first = files.first ?? projectors.first else { return }
        let (source, name) = (FileSystem.parent(of: first), model.contents.adapters[index])
        let own = FileSystem.name(of: try FileSystem.resolved(source))
        let isNamedSo = Checkpoint.adapterName(directory: own).utf8.elementsEqual(name.utf8)
        let folder = isNamedSo ? own : name + "_lora"
        try placeTexts(of: .adapter(index), in: folder)
        let isPickled = !first.hasSuffix(".safetensors")
        if isPickled {
            try placeFile(first, as: FileSystem.join(folder, FileSystem.name(of: first)))
        } else {
            try placeFiles(of: source, stem: "adapter_model", in: folder)
        }
        for file in projectors where !files.contains(where: { $0.utf8.elementsEqual(file.utf8) }) {
            try placeFile(file, as: FileSystem.join(folder, FileSystem.name(of: file)))
        }
    }

    /// The shards of a directory with their index.
    private mutating func placeFiles(of directory: String, stem: String, in folder: String) throws {
        work.directory.describe(folder, as: directory)
        let index = ShardedSafetensors.index(stem: stem)
        if try FileSystem.isFile(FileSystem.join(directory, index)) {
            try work.directory.copy(text: FileSystem.join(directory, index), as: FileSystem.join(folder, index))
        }
        for shard in try ShardedSafetensors(directory: directory, stem: stem).shards {
            let file = shard.file.path
            try placeFile(file, as: FileSystem.join(folder, FileSystem.name(of: file)))
        }
    }

    /// Links or copies a file, or writes it anew if one of its tensors changes.
    ///
    /// - Parameter keys: the path of dictionary keys to the tensors of a torch.save file
    private mutating func placeFile(_ file: String, as name: String, under keys: [String] = []) throws {
        guard changes.concern(file: file) else { return try work.place(file, as: name) }
        if file.hasSuffix(".safetensors") {
            let tensors = try Safetensors(path: file).tensors.values.sorted { $0.isBefore($1) }
            try write(tensors.map { try changes.item($0, name: $0.name) }, as: name)
        } else {
            let tensors = try TorchFile(path: file).tensors(under: keys).sorted { $0.key < $1.key }
            let items = try tensors.map { try changes.item($0.value, name: $0.key) }
            for item in items { try item.checkType() }
            let writer = try TorchWriter(
                path: work.directory.newFile(name), tensors: items.map(\.spec), under: keys)
            for item in items { try item.write(to: writer, check: check) }
            try writer.finish()
            work.countWritten(items)
        }
    }

    /// Writes a safetensors file.
    mutating func write(_ items: [RewrittenTensor], as name: String) throws {
        for item in items { try item.checkType() }
        let writer = try SafetensorsWriter(path: work.directory.newFile(name), tensors: items.map(\.spec))
        for item in items { try item.write(to: writer, check: check) }
        try writer.finish()
        work.countWritten(items)
    }
}

extension StoredTensor {
    /// Whether the tensor lies before another of the same file; by name where neither has bytes.
    func isBefore(_ other: StoredTensor) -> Bool {
        let (a, b) = (UInt(bitPattern: bytes.baseAddress), UInt(bitPattern: other.bytes.baseAddress))
        return (a, name) < (b, other.name)
    }
}

extension JSONValue {
    /// An object with a member set at the top level and, where it has the member, under `text_config`.
    func setting(_ key: String, to value: JSONValue) -> JSONValue {
        guard case .object(var members) = self else { return self }
        func set(_ members: inout [(String, JSONValue)]) {
            if let index = members.firstIndex(where: { $0.0 == key }) {
                members[index].1 = value
            } else {
                members.append((key, value))
            }
        }
        set(&members)
        if let index = members.firstIndex(where: { $0.0 == "text_config" }),
            case .object(var inner) = members[index].1, inner.contains(where: { $0.0 == key })
        {
            set(&inner)
            members[index].1 = .object(inner)
        }
        return .object(members)
    }
}
