import LyraBase
import LyraFormats
import LyraModel
import LyraTensor

/// Folds an adapter into the checkpoint's weights: W + scale · B · A, whole modules in the place of the checkpoint's,
/// and the adapter's own speech projector in the place of the base's.
///
/// The new checkpoint computes without an adapter what the old one computed with it. It has no adapters, because the
/// others were trained with the weights before the merge.
public struct AdapterMerger {
    private let model: ModelWriter
    private let index: Int
    private let note: (String) -> Void

    /// - Parameters:
    ///   - path, options: of the checkpoint, a directory
    ///   - adapter: the adapter's name: "speech"
    ///   - note: receives messages about what is left out
    /// - Throws: the errors of `Checkpoint.open`; `LyraError.argument` for an adapter that the checkpoint does not have;
    ///   `.unsupported` for a one-file model.
    public init(
        path: String, options: CheckpointOptions = CheckpointOptions(), adapter name: String,
        note: @escaping (String) -> Void = { _ in }
    ) throws {
        model = try ModelWriter(path, options: options)
        let adapters = model.checkpoint.adapters
        guard let index = model.checkpoint.adapterIndex(name) else {
            let names = adapters.isEmpty ? "has none" : "has " + adapters.map { shown($0) }.joined(separator: ", ")
            throw LyraError(.argument, "\(path): there is no adapter \(shown(name)); the model \(names)")
        }
        (self.index, self.note) = (index, note)
    }

    /// Writes the merged checkpoint.
    ///
    /// - Parameters:
    ///   - path: a directory to create, or an empty one
    ///   - type: type of the merged tensors: F32, BF16 or F16; nil for the type that each has in the checkpoint
    ///   - shardBytes, copies, check: as for `ModelWriter.write`
    /// - Throws: as `ModelWriter.write`.
    public func write(
        to path: String, type: ElementType? = nil, shardBytes: Int = 5_000_000_000, copies: Bool = false,
        check: @escaping () throws -> Void = {}
    ) throws -> CheckpointAssembler.Summary {
        var changes = ModelChanges()
        changes.type = type
        changes.omittedAdapters = Set(model.checkpoint.adapters.indices)
        if let type { changes.configuration += try typeKeys(type) }
        try addUpdates(&changes, check)
        addWholeModules(&changes)
        let leavesProjector = addProjector(&changes)
        let summary = try model.write(changes, to: path, shardBytes: shardBytes, copies: copies, check: check)
        if leavesProjector { note("the adapter's speech projector is left out: the model takes no speech") }
        for (other, name) in model.checkpoint.adapters.enumerated() where other != index {
            note("the adapter \(shown(name)) is left out: it was trained with the weights before the merge")
        }
        return summary
    }

    /// The key of config.json that names the weights' type, by which transformers chooses the type it computes in.
    private func typeKeys(_ type: ElementType) throws -> [(key: String, value: JSONValue)] {
        try NewTensor.checkType(type)
        let names: [ElementType: String] = [.float32: "float32", .bfloat16: "bfloat16", .float16: "float16"]
        let json = try JSONFile.decode(TypeKeys.self, path: FileSystem.join(model.source, "config.json"))
        let key = json.dtype != nil || json.text_config?.dtype != nil ? "dtype" : "torch_dtype"
        return [(key, .string(names[type] ?? ""))]
    }

    private struct TypeKeys: Decodable {
        struct Text: Decodable { var dtype: String? }
        var dtype: String?
        var text_config: Text?
    }

    // MARK: Low-rank updates

    private func addUpdates(_ changes: inout ModelChanges, _ check: @escaping () throws -> Void) throws {
        let (base, own) = (model.tensors(.main), model.tensors(.adapter(index)))
        for (module, scale) in model.checkpoint.decoder.updates(of: index) {
            let (name, prefix) = (module + ".weight", ParameterNames.peft + module + ".lora_")
            guard let weight = base[name], let a = own[prefix + "A.weight"], let b = own[prefix + "B.weight"] else {
                throw LyraError(.missing, "\(model.source): there is no tensor \(name), or no update of it")
            }
            changes.set(
                .main,
                NewTensor(name, weight.shape) {
                    try check()
                    return try Self.folded(weight, a, b, scale: scale)
                })
        }
    }

    /// W + scale · B · A in F32.
    private static func folded(
        _ weight: StoredTensor, _ a: StoredTensor, _ b: StoredTensor, scale: Float
    ) throws -> Tensor {
        // [outputs, rank] · [rank, inputs]
        let update = try Weight(a).transposedProduct(b.values())
        var sum = try weight.values()
        let count = sum.count
        guard update.count == count else {
            throw LyraError(.format, "\(b.source): \(shown(b.name)) does not fit \(shown(weight.name))")
        }
        try sum.withMutableValues { sum in
            try update.withValues { update in
                for index in 0..<count {
                    if index & 0xfffff == 0 { try Interruption.check() }
                    sum[index] += scale * update[index]
                }
            }
        }
        return sum
    }

    // MARK: Whole modules

    private func addWholeModules(_ changes: inout ModelChanges) {
        let (embeddings, head) = ("model.embed_tokens.weight", "lm_head.weight")
        var replaced: [String: StoredTensor] = [:]
        for (name, tensor) in model.tensors(.adapter(index)) where !name.contains(".lora_") {
            replaced[String(name.dropFirst(ParameterNames.peft.count))] = tensor
        }
        for (name, tensor) in replaced.sorted(by: { $0.key < $1.key }) where name != head {
            changes.set(.main, NewTensor(name, tensor))
        }
        // The head that the adapter computes with, where it is not the merged model's.
        let isTied = model.checkpoint.configuration.language.tiesEmbeddings
        var own = replaced[head]
        if own == nil, isTied, replaced[embeddings] != nil, !model.checkpoint.decoder.tiesHead(of: index) {
            own = model.tensors(.main)[embeddings]
        }
        guard let own else { return }
        changes.set(.main, NewTensor(head, own))
        if isTied { changes.configuration.append(("tie_word_embeddings", false)) }
    }

    // MARK: The speech projector

    /// - Returns: whether the adapter has a projector that the model has no place for
    private func addProjector(_ changes: inout ModelChanges) -> Bool {
        let own = model.tensors(.adapterProjector(index)).sorted { $0.key < $1.key }
        guard model.checkpoint.speechNetworks.isPresent else { return !own.isEmpty }
        for (name, tensor) in own {
            let base = CheckpointLoader.speechProjectorPrefix + name
            if model.tensors(.main)[base] != nil { changes.set(.main, NewTensor(base, tensor)) }
        }
        return false
    }
}
