import LyraBase
import LyraFormats
import LyraModel
import LyraTensor

/// The contents of a one-file model, planned before the file is written.
struct ConversionPlan {
    struct Item {
        let name: String
        let source: StoredTensor
        let type: ElementType
        /// Shape in the file: at least one axis, at most as many as GGUF allows.
        let shape: [Int]
    }

    private(set) var items: [Item] = []
    private(set) var metadata: [(key: String, value: GGUFValue)]
    /// Names of the checkpoint's tensors that lyra does not use.
    private(set) var unused: [String] = []

    /// - Throws: `LyraError.unsupported` for a tensor that cannot be stored, `LyraError.format` for a text that is not
    ///   UTF-8.
    init(
        _ contents: ModelContents, _ checkpoint: Checkpoint, recipe: Recipe, scope: ModelConverter.Scope, name: String
    ) throws {
        let end = checkpoint.generationDefaults.endTokens.first ?? checkpoint.configuration.endTokens.first
        metadata = LanguageMetadataWriter.entries(checkpoint.configuration, checkpoint.tokenizer, end: end)
        metadata += [
            ("general.name", .string(name)), ("general.file_type", .uint32(recipe.fileType)),
            ("general.quantization_version", .uint32(2)),
        ]
        if scope == .whole { try addTexts(contents, recipe) }
        for (part, tensors) in contents.tensors where scope == .whole || part == .main {
            for (loaded, tensor) in tensors.sorted(by: { $0.key < $1.key }) {
                try add(loaded, tensor, part, checkpoint.configuration.language, recipe, scope)
            }
        }
    }

    private mutating func addTexts(_ contents: ModelContents, _ recipe: Recipe) throws {
        guard contents.adapters.count <= OneFileSource.mostAdapters else {
            throw LyraError(
                .unsupported,
                "\(contents.adapters.count) adapters cannot be kept in a model file; at most "
                    + "\(OneFileSource.mostAdapters) are allowed"
            )
        }
        metadata += [
            (OneFileKeys.version, .uint32(UInt32(OneFileSource.version))), (OneFileKeys.recipe, .string(recipe.name)),
            (OneFileKeys.adapters, .strings(contents.adapters)),
        ]
        for (name, bytes) in contents.texts {
            guard let text = String(validating: bytes.elements, as: UTF8.self) else {
                throw LyraError(.format, "\(shown(name)): not UTF-8 text, so it cannot be kept in a model file")
            }
            metadata.append((OneFileKeys.file + name, .string(text)))
        }
    }

    private mutating func add(
        _ loaded: String, _ tensor: StoredTensor, _ part: ModelPart, _ language: DecoderConfiguration,
        _ recipe: Recipe, _ scope: ModelConverter.Scope
    ) throws {
        // Left out: the tensors of towers and projectors, which are stored as parts of their own, and a head tied to
        // the embeddings.
        let isOfOtherPart =
            ["model.speech_tower.", "model.vision_tower."].contains { loaded.hasPrefix($0) }
            || loaded.contains("mm_audio_projector.")
        let isTiedHead = language.tiesEmbeddings && loaded == "lm_head.weight"
        guard !(part == .main && (isOfOtherPart || isTiedHead)) else { return }
        guard let name = OneFileNames.stored(part, loaded), tensor.isFloating else {
            unused.append(tensor.name)
            return
        }
        let isLanguage = ["blk.", "output", "token_embd."].contains { name.hasPrefix($0) }
        guard scope == .whole || isLanguage else { return }
        guard name.utf8.count <= OneFileNames.lengthLimit, tensor.count > 0 else {
            throw LyraError(
                .unsupported,
                "\(tensor.source): tensor \(shown(tensor.name)) cannot be kept in a model file: it is empty, or its "
                    + "name is longer than \(OneFileNames.lengthLimit) bytes")
        }
        let type = recipe.type(of: name, tensor, in: part, layers: language.layers)
        var shape = tensor.shape.isEmpty ? [1] : tensor.shape
        // GGUF quantizes along the last axis, a convolution's kernel, which is shorter than a block: its rows are all
        // axes but the first.
        if shape.count > GGUFWriter.axisLimit || (shape.count > 2 && type.blockElements > 1) {
            metadata.append((OneFileKeys.shape + name, .int64s(shape.map { Int64($0) })))
            shape = [shape[0], tensor.count / shape[0]]
        }
        items.append(Item(name: name, source: tensor, type: type, shape: shape))
    }
}

extension StoredTensor {
    /// Whether the elements are floating-point numbers, possibly quantized.
    fileprivate var isFloating: Bool {
        type == .float64 || type.isFloat8 || type.blockElements > 1 || [.float32, .float16, .bfloat16].contains(type)
    }
}
