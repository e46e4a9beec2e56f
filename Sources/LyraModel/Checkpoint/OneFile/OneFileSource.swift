import LyraBase
import LyraFormats
import LyraTensor

/// Metadata keys of lyra's own files.
package enum OneFileKeys {
    /// Version of the layout: 1.
    package static let version = "lyra.version"
    /// The recipe's name.
    package static let recipe = "lyra.recipe"
    /// Names of the adapters in index order.
    package static let adapters = "lyra.adapters"
    /// Prefix for the name of a text: "lyra.file.config.json".
    package static let file = "lyra.file."
    /// Prefix for the name of a tensor that the file holds as [first axis, other axes], because GGUF has fewer axes or
    /// because its rows are quantized; the value lists all axes, innermost last.
    package static let shape = "lyra.shape."
}

/// A model in one GGUF file. Missing towers and a missing vocoder are searched for as for a directory. Nothing lies
/// beside a file inside the program, so for such a file only the caller's places are searched.
package struct OneFileSource: ModelSource {
    let origin: String
    let language: LanguageMetadata?
    private let file: GGUFFile
    private let beside: DirectorySource
    private let adapterNames: [String]
    /// The names of each part's tensors.
    private let tensorNames: [ModelPart: [String]]
    private let isVocoderGiven: Bool

    /// Version of the layout that lyra writes and reads.
    package static let version = 1
    /// Maximum number of adapters in a file.
    package static let mostAdapters = 256

    /// - Throws: any error of `GGUFFile.opening`; `LyraError.format` for more than `mostAdapters`;
    ///   `LyraError.unsupported` for a file of a later version, a file without a model that lyra runs, or a tensor
    ///   whose layer number is not spelled canonically.
    init(_ mapped: MappedFile, _ options: CheckpointOptions) throws {
        let path = mapped.path
        origin = path
        guard mapped.starts(with: "GGUF") else {
            throw LyraError(
                .format, "\(path): not a GGUF file; a model is a GGUF file or a directory with a config.json")
        }
        file = try GGUFFile.opening(mapped, check: options.check)
        isVocoderGiven = options.vocoder != nil
        beside = try DirectorySource(path, options, isInsideProgram: mapped.identity == nil)
        adapterNames = try file.strings(OneFileKeys.adapters) ?? []
        guard adapterNames.count <= Self.mostAdapters else {
            throw LyraError(
                .format,
                "\(path): \(OneFileKeys.adapters) lists \(adapterNames.count) adapters; at most "
                    + "\(Self.mostAdapters) are allowed")
        }
        tensorNames = try Self.tensorNames(file)
        guard let version = try file.int(OneFileKeys.version) else {
            language = try LanguageMetadata(file)
            return
        }
        guard version == Self.version else {
            throw LyraError(
                .unsupported,
                "\(path): a lyra model of version \(version); this lyra reads version \(Self.version); open it "
                    + "with a newer lyra")
        }
        language = nil
    }

    /// Sorts the tensors into parts in one pass over the names.
    ///
    /// - Throws: `LyraError.unsupported` for a name that is a different spelling of a tensor that lyra reads.
    private static func tensorNames(_ file: GGUFFile) throws -> [ModelPart: [String]] {
        var names: [ModelPart: [String]] = [:]
        for name in file.names {
            guard !OneFileNames.hasNonCanonicalLayer(name) else {
                throw LyraError(
                    .unsupported,
                    "\(file.path): tensor \(shown(name)) is unknown: a layer number has no sign and no "
                        + "leading zeros")
            }
            for part in OneFileNames.parts(holding: name) { names[part, default: []].append(name) }
        }
        return names
    }

    var main: any PartFiles { OneFilePart(file, .main, tensorNames[.main] ?? []) }

    func adapters() -> [AdapterFiles] {
        adapterNames.enumerated().map { index, name in
            AdapterFiles(
                name: name, files: OneFilePart(file, .adapter(index), tensorNames[.adapter(index)] ?? []),
                projector: part(.adapterProjector(index)))
        }
    }

    func tower(_ part: ModelPart, _ name: String, isInside: Bool) throws -> TowerFiles {
        guard let own = self.part(part) else { return try beside.tower(part, name, isInside: isInside) }
        if own.has("config.json") { return TowerFiles(tensors: own, texts: own, candidates: [origin]) }
        // A tower inside a checkpoint whose texts were not found at conversion.
        let other = try beside.tower(part, name, isInside: isInside)
        return TowerFiles(tensors: own, texts: other.texts, candidates: [origin] + other.candidates)
    }

    func vocoder(check: () throws -> Void) throws -> (any PartFiles)? {
        if !isVocoderGiven, let own = part(.vocoder) { return own }
        return try beside.vocoder(check: check)
    }

    /// The part; nil if the file holds none of its tensors.
    private func part(_ part: ModelPart) -> OneFilePart? {
        tensorNames[part].map { OneFilePart(file, part, $0) }
    }
}

/// One part of a GGUF file: tensors with a common name prefix, and texts in the metadata.
struct OneFilePart: PartFiles {
    private let file: GGUFFile
    private let part: ModelPart
    private let names: [String]

    /// - Parameter names: names of the part's tensors in the file
    init(_ file: GGUFFile, _ part: ModelPart, _ names: [String]) {
        (self.file, self.part, self.names) = (file, part, names)
    }

    var origin: String { file.path }
    private func key(_ name: String) -> String { OneFileKeys.file + part.folder + name }
    func path(_ name: String) -> String { "\(file.path) (\(key(name)))" }
    func has(_ name: String) -> Bool { file.metadata[key(name)] != nil }

    func text(_ name: String) throws -> GrowingBuffer<UInt8> {
        guard let text = try file.string(key(name)) else {
            throw LyraError(.missing, "\(file.path): there is no \(key(name)) in its metadata; convert the model again")
        }
        let limit = JSONFile.limit(of: name)
        guard text.utf8.count <= limit else {
            throw LyraError(
                .format,
                "\(path(name)): \(text.utf8.count) bytes, over the limit of \(limit)")
        }
        return try GrowingBuffer(copying: text.utf8)
    }

    func tensors() throws -> [String: StoredTensor] {
        var result: [String: StoredTensor] = [:]
        for name in names {
            guard let loaded = OneFileNames.loaded(part, name), let tensor = file.tensor(name) else { continue }
            result[loaded] = try reshaped(tensor)
        }
        return result
    }

    /// The tensor with the axes that it had before conversion.
    private func reshaped(_ tensor: StoredTensor) throws -> StoredTensor {
        let key = OneFileKeys.shape + tensor.name
        guard let shape = try file.ints(key) else { return tensor }
        let isWholeRows = tensor.type.blockElements == 1 || tensor.shape.first == shape.first
        guard shape.allSatisfy({ $0 > 0 }), isWholeRows, (try? FloatStorage.count(of: shape)) == tensor.count
        else {
            throw LyraError(
                .format,
                "\(file.path): \(key) is \(shape.prefix(16)), but the tensor has shape \(tensor.shape.prefix(16))")
        }
        return tensor.withShape(shape)
    }
}
