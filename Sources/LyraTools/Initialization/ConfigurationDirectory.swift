import LyraBase
import LyraFormats
import LyraModel

/// A directory with the configuration files of a checkpoint in the published layout, and no weights.
struct ConfigurationDirectory {
    let path: String
    let configuration: LyraConfiguration
    /// Towers with the folders that config.json names.
    let speechTower: (folder: String, sizes: WhisperConfiguration)?
    let visionTower: (folder: String, sizes: VisionConfiguration)?
    /// Nil without a speech generator, or without `vocoderFolder`.
    let vocoder: VocoderConfiguration?
    /// Every folder with an adapter_config.json.
    let adapters: [(folder: String, settings: AdapterSettings)]
    /// All files by their places in the directory, except the adapters' configurations.
    let files: [String]

    static let vocoderFolder = "model_zoo/audio/vocoder"
    private static let adapterFile = "adapter_config.json"

    /// Reads the configurations.
    ///
    /// - Throws: `LyraError.missing` for a file that is not there; `.format` for a damaged one; `.unsupported` for a
    ///   part whose sizes no configuration file has; `.argument` for a directory that has weights.
    init(_ path: String) throws {
        try FileSystem.checkPath(path)
        let main = FileSystem.join(path, "config.json")
        guard try FileSystem.isFile(main) else {
            throw LyraError(
                .missing, "\(path): there is no config.json; expected a directory of a checkpoint's configuration files"
            )
        }
        self.path = path
        configuration = try Self.decode(LyraConfiguration.self, main)
        try configuration.validate(main)
        try Self.checkParts(configuration, main)
        speechTower = try Self.tower("mm_speech_tower", configuration.speechTower, path) {
            try LonePart.speechTower($0)
        }
        visionTower = try Self.tower("mm_vision_tower", configuration.visionTower, path) {
            try LonePart.visionTower($0)
        }
        vocoder = try configuration.generator == nil ? nil : Self.vocoder(path)
        let all = try Self.files(in: path)
        adapters = try all.compactMap { file in
            // As the loader has it: a folder in the directory itself.
            let parts = file.split(separator: "/")
            guard parts.count == 2, parts[1] == Self.adapterFile else { return nil }
            let folder = String(parts[0])
            return (folder, try AdapterSettings(directory: FileSystem.join(path, folder)))
        }
        let written = Set(adapters.map { Array(FileSystem.join($0.folder, Self.adapterFile).utf8) })
        files = all.filter { !written.contains(Array($0.utf8)) }
    }

    private static func decode<T: Decodable>(_ type: T.Type, _ file: String) throws -> T {
        let bytes = try MappedFile.contents(path: file, limit: JSONFile.configurationLimit)
        return try NamedBytes(name: file, bytes: bytes).decode(type)
    }

    private static func checkParts(_ configuration: LyraConfiguration, _ file: String) throws {
        guard !configuration.isPlainQwen2VL else {
            throw LyraError(
                .unsupported,
                "\(file): model_type is qwen2_vl; a Lyra checkpoint is made, whose model_type is "
                    + "Lyra_Qwen2VL_SpeechGenerator")
        }
        if let tower = configuration.soundTower {
            throw LyraError(
                .unsupported,
                "\(file): mm_audio_tower names \(shown(tower)), but no configuration file has a sound tower's sizes; "
                    + "remove the key")
        }
    }

    /// A tower whose configuration lies inside the directory.
    private static func tower<Sizes>(
        _ key: String, _ folder: String?, _ path: String, _ read: (String) throws -> Sizes
    ) throws -> (folder: String, sizes: Sizes)? {
        guard let name = folder else { return nil }
        let parts = name.split(separator: "/").filter { $0 != "." }
        guard !parts.isEmpty, !parts.contains(".."), !FileSystem.isAbsolute(name) else {
            throw LyraError(
                .unsupported,
                "\(FileSystem.join(path, "config.json")): \(key) is \(shown(name)); a new tower needs a folder "
                    + "inside the checkpoint, such as model_zoo/audio/whisper")
        }
        let folder = parts.joined(separator: "/")
        let place = FileSystem.join(path, folder)
        for name in ["config.json", "preprocessor_config.json"] {
            guard try FileSystem.isFile(FileSystem.join(place, name)) else {
                throw LyraError(
                    .missing, "\(FileSystem.join(place, name)): there is no such file; \(key) names its folder")
            }
        }
        return (folder, try read(place))
    }

    private static func vocoder(_ path: String) throws -> VocoderConfiguration? {
        let file = FileSystem.join(path, vocoderFolder + "/config.json")
        guard try FileSystem.isFile(file) else { return nil }
        let vocoder = try decode(VocoderConfiguration.self, file)
        try vocoder.validate(source: file)
        return vocoder
    }

    // MARK: Files

    /// Folders inside one another: more than the published layout has, and an end where links lead in a circle.
    private static let deepest = 8
    private static let mostEntries = 1000

    /// Files of all folders but hidden ones.
    private static func files(in path: String) throws -> [String] {
        var files: [String] = [], count = 0
        func add(_ folder: String, depth: Int) throws {
            for entry in try FileSystem.entries(of: FileSystem.join(path, folder)) where !FileSystem.isReserved(entry) {
                let name = FileSystem.join(folder, entry), place = FileSystem.join(path, name)
                count += 1
                guard count <= mostEntries else {
                    throw LyraError(
                        .argument, "\(path): more than \(mostEntries) files and folders; expected configuration files")
                }
                if try FileSystem.isDirectory(place) {
                    guard depth < deepest else {
                        throw LyraError(.argument, "\(place): more than \(deepest) folders inside one another")
                    }
                    try add(name, depth: depth + 1)
                } else {
                    try checkFile(entry, place)
                    files.append(name)
                }
            }
        }
        try add("", depth: 0)
        return files
    }

    private static func checkFile(_ name: String, _ place: String) throws {
        guard try FileSystem.isFile(place) else {
            throw LyraError(.argument, "\(place): not a regular file, so it cannot be copied")
        }
        let endings = [".safetensors", ".safetensors.index.json", ".bin", ".pt", ".pth", ".gguf"]
        guard !endings.contains(where: { name.hasSuffix($0) }), !name.hasPrefix("g_") else {
            throw LyraError(
                .argument,
                "\(place): a file of weights; all weights of a new checkpoint are made, so remove it, or name a "
                    + "directory of configuration files alone")
        }
    }
}
