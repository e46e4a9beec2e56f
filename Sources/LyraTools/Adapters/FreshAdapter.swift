import LyraBase
import LyraFormats
import LyraModel
import LyraTensor

/// An adapter before its training, as PEFT initializes one: it changes nothing yet.
///
/// A is uniform in ±1/√inputs (`kaiming_uniform_(a=√5)` in `LoraLayer.reset_lora_parameters`) and follows from a seed;
/// B is zero. Modules that the adapter replaces as a whole, and its speech projector, are copies of the checkpoint's.
public struct FreshAdapter {
    private let settings: AdapterSettings
    private let tensors: [NewTensor]
    private let projector: [NewTensor]?

    /// - Parameters:
    ///   - path, options: of the checkpoint, a directory or a file; its own adapters and those of `options` are not
    ///     used
    ///   - seed: the same seed gives the same numbers
    /// - Throws: the errors of `Checkpoint.open`; `LyraError.argument` for a module that the checkpoint does not have.
    public init(
        checkpoint path: String, options: CheckpointOptions = CheckpointOptions(), settings: AdapterSettings,
        seed: UInt64
    ) throws {
        var options = options
        (options.adapterDirectories, options.trainables, options.precision) = ([], nil, .exact)
        let loader = try CheckpointLoader(path, options)
        let checkpoint = try loader.load()
        let configuration = try settings.configuration()
        self.settings = settings
        let decoder = checkpoint.decoder.parameters
        tensors =
            try Self.updates(decoder, settings, configuration, seed, path)
            + Self.copies(
                decoder, tied: checkpoint.configuration.language.tiesEmbeddings, settings, configuration, path)
        let main = loader.contents.tensors.first { $0.part == .main }?.tensors ?? [:]
        let prefix = CheckpointLoader.speechProjectorPrefix
        let own = main.filter { $0.key.hasPrefix(prefix) }.sorted { $0.key < $1.key }
        projector = own.isEmpty ? nil : own.map { NewTensor(String($0.key.dropFirst(prefix.count)), $0.value) }
    }

    /// Writes the adapter's directory; errors as for `AdapterWriter`.
    ///
    /// - Parameter type: F32, BF16 or F16
    public func write(to directory: String, type: ElementType = .float32) throws {
        try AdapterWriter(directory: directory, settings: settings, type: type).write(tensors, projector: projector)
    }

    /// A and B of every matrix of the layers that a target names.
    private static func updates(
        _ parameters: [Parameter], _ settings: AdapterSettings, _ configuration: AdapterConfiguration, _ seed: UInt64,
        _ path: String
    ) throws -> [NewTensor] {
        var unused = settings.targetModules
        var tensors: [NewTensor] = []
        for parameter in parameters {
            guard case .weight(let weight) = parameter.value, parameter.path.hasPrefix("model.layers."),
                let module = parameter.path.removing(suffix: ".weight")
            else { continue }
            let targets = settings.targetModules.filter { module == $0 || module.hasSuffix("." + $0) }
            guard !targets.isEmpty else { continue }
            unused.removeAll { targets.contains($0) }
            let (name, rank) = (ParameterNames.peft + module + ".lora_", configuration.rank(of: module))
            let (inputs, outputs) = (weight.inputs, weight.outputs)
            let a = name + "A.weight"
            tensors.append(
                NewTensor(a, [rank, inputs]) {
                    var generator = UniformGenerator(seed: seed, name: a)
                    let bound = 1 / Float(inputs).squareRoot()
                    return try Tensor(rows: rank, columns: inputs) { _, _ in generator.next() * bound }
                })
            tensors.append(NewTensor(name + "B.weight", [outputs, rank]) { try Tensor(zeros: [outputs, rank]) })
        }
        guard unused.isEmpty, !tensors.isEmpty else {
            throw LyraError(
                .argument,
                "\(path): the layers have no matrix \(shown(unused.first ?? "")); an adapter updates "
                    + AdapterSettings.allModules.joined(separator: ", "))
        }
        return tensors
    }

    /// Copies of the modules that the adapter replaces as a whole.
    private static func copies(
        _ parameters: [Parameter], tied: Bool, _ settings: AdapterSettings, _ configuration: AdapterConfiguration,
        _ path: String
    ) throws -> [NewTensor] {
        let names = ["model.embed_tokens.weight", "lm_head.weight", "model.norm.weight"]
        var copies: [NewTensor] = []
        func add(_ name: String, _ value: Parameter.Value) {
            let name = ParameterNames.peft + name
            guard configuration.replaces(name) else { return }
            switch value {
            case .weight(let weight):
                copies.append(
                    NewTensor(name, [weight.outputs, weight.inputs]) {
                        try weight.gather((0..<weight.outputs).map { Int32(clamping: $0) })
                    })
            case .tensor(let tensor): copies.append(NewTensor(name, tensor))
            case .stored: break
            }
        }
        for parameter in parameters where names.contains(parameter.path) || parameter.path.hasSuffix("norm.weight") {
            add(parameter.path, parameter.value)
            // The head is the embeddings.
            if tied, parameter.path == names[0] { add(names[1], parameter.value) }
        }
        for module in settings.wholeModules where module != "mm_speech_projector" {
            guard !copies.contains(where: { $0.name.dropLast(".weight".count).hasSuffix(module) }) else { continue }
            throw LyraError(
                .argument,
                "\(path): modules_to_save names \(shown(module)); an adapter replaces embed_tokens, lm_head, norms and "
                    + "mm_speech_projector")
        }
        return copies
    }
}

extension String {
    func removing(suffix: String) -> String? { hasSuffix(suffix) ? String(dropLast(suffix.count)) : nil }
}
