import LyraBase
import LyraFormats
import LyraTensor

/// A checkpoint directory in the published layout, and the places to search for its towers.
struct DirectorySource: ModelSource {
    let origin: String
    private let isInsideProgram: Bool
    private let finder: TowerFinder
    /// Directory of the towers given by the caller.
    private let givenTowers: String?
    /// Vocoder path given by the caller.
    private let givenVocoder: String?

    /// - Parameters:
    ///   - path: the checkpoint's directory, or its file
    ///   - isInsideProgram: whether `path` is the name of a file inside the program
    /// - Throws: `LyraError.io` if the system cannot tell whether `path` is a directory or a file.
    init(_ path: String, _ options: CheckpointOptions, isInsideProgram: Bool = false) throws {
        origin = path
        self.isInsideProgram = isInsideProgram
        finder = try TowerFinder(checkpoint: isInsideProgram ? nil : path, extra: options.towers)
        givenTowers = options.towers
        givenVocoder = options.vocoder
    }

    var main: any PartFiles { DirectoryFiles(origin) }
    var language: LanguageMetadata? { nil }

    /// Every subdirectory with an adapter_config.json, except hidden directories and the file system's own.
    func adapters() throws -> [AdapterFiles] {
        try FileSystem.entries(of: origin).filter { !FileSystem.isReserved($0) }.compactMap { entry in
            let folder = Self.adapterFolder(FileSystem.join(origin, entry))
            guard try folder.has("adapter_config.json") else { return nil }
            return try Self.adapter(folder, Checkpoint.adapterName(directory: entry))
        }
    }

    private static func adapterFolder(_ path: String) -> DirectoryFiles {
        DirectoryFiles(path, stem: "adapter_model", pickle: "adapter_model.bin")
    }

    private static func adapter(_ folder: DirectoryFiles, _ name: String) throws -> AdapterFiles {
        let projector = folder.path("non_lora_trainables.bin")
        return AdapterFiles(
            name: name, files: folder, projector: try FileSystem.isFile(projector) ? TorchFiles(projector) : nil)
    }

    /// An adapter's directory outside a checkpoint.
    ///
    /// - Throws: `LyraError.missing` if it is not one; `.argument` for a name or path that cannot be used.
    static func adapter(_ path: String, named name: String) throws -> AdapterFiles {
        try FileSystem.checkPath(path)
        guard !name.isEmpty, !["auto", "none"].contains(name), !FileSystem.isReserved(name),
            !name.utf8.contains(UInt8(ascii: "/"))
        else {
            throw LyraError(
                .argument, "\(path): an adapter cannot have the name \(shown(name)); give another, such as speech")
        }
        let folder = adapterFolder(path)
        guard try folder.has("adapter_config.json") else {
            throw LyraError(.missing, "\(path): not an adapter's directory: it has no adapter_config.json")
        }
        return try adapter(folder, name)
    }

    func tower(_ part: ModelPart, _ name: String, isInside: Bool) throws -> TowerFiles {
        if name == LyraConfiguration.ownDirectory { return try ownTower(isInside) }
        let candidates = finder.candidates(name)
        if part == .soundTower {
            return TowerFiles(tensors: try finder.file(name).map { TorchFiles($0) }, texts: nil, candidates: candidates)
        }
        let folder = try finder.directory(name).map { DirectoryFiles($0) }
        return TowerFiles(tensors: folder, texts: folder, candidates: candidates)
    }

    /// A tower that no name leads to: inside the checkpoint, or else the caller's directory, if that is a tower itself.
    private func ownTower(_ isInside: Bool) throws -> TowerFiles {
        if isInside {
            return TowerFiles(
                tensors: nil, texts: isInsideProgram ? nil : DirectoryFiles(origin), candidates: [origin])
        }
        let given = try givenTowers.map { DirectoryFiles($0) }.flatMap { try $0.has("config.json") ? $0 : nil }
        return TowerFiles(tensors: given, texts: given, candidates: givenTowers.map { [$0] } ?? [])
    }

    func vocoder(check: () throws -> Void) throws -> (any PartFiles)? {
        let file = try finder.vocoder(givenVocoder, check: check)
        if let givenVocoder, file == nil {
            throw LyraError(
                .missing, "\(givenVocoder): there is no vocoder; expected a file g_… with a config.json beside it")
        }
        return file.map { TorchFiles($0, under: ["generator"]) }
    }
}

/// A directory with texts and safetensors, in one file or in shards, or with a torch.save file in their place.
struct DirectoryFiles: PartFiles {
    let origin: String
    private let stem: String
    private let pickle: String?

    /// - Parameter pickle: name of a torch.save file that can stand in place of the safetensors
    init(_ directory: String, stem: String = "model", pickle: String? = nil) {
        origin = directory
        self.stem = stem
        self.pickle = pickle
    }

    func path(_ name: String) -> String { FileSystem.join(origin, name) }
    func has(_ name: String) throws -> Bool { try FileSystem.isFile(path(name)) }
    func text(_ name: String) throws -> GrowingBuffer<UInt8> {
        try MappedFile.buffer(path: path(name), limit: JSONFile.limit(of: name))
    }
    func tensors() throws -> [String: StoredTensor] {
        let isSafetensors = try has(stem + ".safetensors") || has(ShardedSafetensors.index(stem: stem))
        if let pickle, try !isSafetensors && has(pickle) { return try TorchFile(path: path(pickle)).tensors() }
        return try ShardedSafetensors(directory: origin, stem: stem).tensors
    }
    var index: String? { path(ShardedSafetensors.index(stem: stem)) }
}

/// A torch.save file with texts beside it.
struct TorchFiles: PartFiles {
    let origin: String
    private let keys: [String]

    /// - Parameter keys: the path of dictionary keys to the tensors
    init(_ file: String, under keys: [String] = []) {
        origin = file
        self.keys = keys
    }

    func path(_ name: String) -> String { FileSystem.join(FileSystem.parent(of: origin), name) }
    func has(_ name: String) throws -> Bool { try FileSystem.isFile(path(name)) }
    func text(_ name: String) throws -> GrowingBuffer<UInt8> {
        try MappedFile.buffer(path: path(name), limit: JSONFile.limit(of: name))
    }
    func tensors() throws -> [String: StoredTensor] { try TorchFile(path: origin).tensors(under: keys) }
}
