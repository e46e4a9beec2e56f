import LyraBase
import LyraFormats
import LyraModel
import LyraTensor

/// Writes an adapter's directory as PEFT and the Lyra release have it: adapter_config.json, adapter_model.safetensors,
/// and the speech projector that was trained with it in non_lora_trainables.bin.
public struct AdapterWriter {
    static let configurationFile = "adapter_config.json"
    static let tensorFile = "adapter_model.safetensors"
    static let projectorFile = "non_lora_trainables.bin"
    static let files = [configurationFile, tensorFile, projectorFile]
    /// Prefix of the projector's tensors in `projectorFile`. The reference strips the first `model.`.
    static let projectorPrefix = "model.model.mm_speech_projector."
    /// Their prefix among the adapter's tensors, where PEFT keeps what modules_to_save names.
    private static let insidePrefix = ParameterNames.peft + CheckpointLoader.speechProjectorPrefix

    private let directory: String
    private let settings: AdapterSettings
    private let type: ElementType

    /// - Parameters:
    ///   - directory: made if it is not there; the adapter in it is replaced
    ///   - type: F32, BF16 or F16
    public init(directory: String, settings: AdapterSettings, type: ElementType = .float32) {
        (self.directory, self.settings, self.type) = (directory, settings, type)
    }

    /// Writes the files beside those that they replace, and renames them when all are complete and on disk.
    ///
    /// - Parameters:
    ///   - tensors: under PEFT's names: `base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight`
    ///   - projector: the adapter's own speech projector, `linear1.weight` and the others; nil if it has none
    /// - Throws: `LyraError.argument` for tensors that do not fit the settings; `.io` if something cannot be written,
    ///   for example on a full disk. The files that were there then stay.
    package func write(_ tensors: [NewTensor], projector: [NewTensor]? = nil) throws {
        let isInside = try check(tensors, projector)
        var directories = NewDirectories()
        do {
            try directories.make(directory)
            try writeFiles(tensors, projector, isInside: isInside)
        } catch {
            directories.remove()
            throw error
        }
    }

    /// The checks of `write`, which writes nothing: for a training that should not find out at its end.
    ///
    /// - Throws: as `write`, apart from what only the writing shows, such as a full disk.
    package func checkWritable(_ tensors: [NewTensor], projector: [NewTensor]? = nil) throws {
        _ = try check(tensors, projector)
    }

    /// - Returns: whether the projector stands among the adapter's tensors
    private func check(_ tensors: [NewTensor], _ projector: [NewTensor]?) throws -> Bool {
        try NewTensor.checkType(type)
        try FileSystem.checkPath(directory)
        guard try !FileSystem.isFile(directory) else {
            throw LyraError(.io, "\(directory): a file is in the place of the adapter's directory; remove it")
        }
        let configuration = try settings.configuration()
        try check(tensors, configuration)
        let isInside = configuration.replaces(Self.insidePrefix + "linear1.weight")
        try checkRemains(hasProjector: projector != nil && !isInside)
        return isInside
    }

    private func path(_ name: String) -> String { FileSystem.join(directory, name) }

    private func writeFiles(_ tensors: [NewTensor], _ projector: [NewTensor]?, isInside: Bool) throws {
        let inside =
            (isInside ? projector : nil)?.map {
                NewTensor(Self.insidePrefix + $0.name, $0.shape, values: $0.values)
            } ?? []
        let text = try OutputFile(path: path(Self.configurationFile))
        try Array(ExactJSON.text(settings.json).utf8).withUnsafeBytes { try text.write($0, at: 0) }
        let updates = try SafetensorsWriter(
            path: path(Self.tensorFile), tensors: (tensors + inside).map { $0.spec(type) })
        for tensor in tensors + inside { try tensor.write(as: type, to: updates) }
        let beside = try isInside ? nil : projector.map { try write(projector: $0) }
        // From here on nothing needs more room.
        try text.flush()
        try updates.flush()
        try beside?.flush()
        try beside?.finish()
        try updates.finish()
        try text.commit()
    }

    private func write(projector: [NewTensor]) throws -> TorchWriter {
        let specs = projector.map { TensorSpec(name: Self.projectorPrefix + $0.name, type: type, shape: $0.shape) }
        let writer = try TorchWriter(path: path(Self.projectorFile), tensors: specs)
        for tensor in projector { try tensor.write(as: type, to: writer, key: Self.projectorPrefix + tensor.name) }
        return writer
    }

    /// - Throws: `LyraError.argument` for a tensor that the settings do not provide for.
    private func check(_ tensors: [NewTensor], _ configuration: AdapterConfiguration) throws {
        guard !tensors.isEmpty else { throw LyraError(.argument, "\(directory): an adapter without tensors") }
        for tensor in tensors {
            guard let name = Self.removing(prefix: ParameterNames.peft, tensor.name) else {
                throw LyraError(
                    .argument,
                    "\(directory): tensor \(shown(tensor.name)): the names of an adapter begin with "
                        + ParameterNames.peft)
            }
            let parts = name.split(separator: ".")
            guard let kind = parts.dropLast().last, ["lora_A", "lora_B"].contains(kind) else {
                guard configuration.replaces(tensor.name) else {
                    throw LyraError(
                        .argument,
                        "\(directory): modules_to_save does not name the module of tensor \(shown(tensor.name))")
                }
                continue
            }
            let rank = configuration.rank(of: parts.dropLast(2).joined(separator: "."))
            guard tensor.shape.count == 2, tensor.shape[kind == "lora_A" ? 0 : 1] == rank else {
                throw LyraError(
                    .argument,
                    "\(directory): tensor \(shown(tensor.name)) has shape \(tensor.shape), but the rank is \(rank)")
            }
        }
    }

    private static func removing(prefix: String, _ name: String) -> String? {
        name.hasPrefix(prefix) ? String(name.dropFirst(prefix.count)) : nil
    }

    /// - Throws: `LyraError.io` if the directory has a file that readers would take for a part of this adapter.
    private func checkRemains(hasProjector: Bool) throws {
        let others = [ShardedSafetensors.index(stem: "adapter_model")] + (hasProjector ? [] : [Self.projectorFile])
        for name in others where try FileSystem.isFile(path(name)) {
            throw LyraError(
                .io, "\(path(name)): belongs to another adapter; remove it, or write to another directory")
        }
    }
}
