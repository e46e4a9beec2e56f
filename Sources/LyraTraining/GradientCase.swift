import LyraBase
import LyraFormats
import LyraModel
import LyraTensor

/// One sample of stage 2 whose encoder output and tokens are given, so that losses and gradients can be compared with
/// other implementations.
///
/// A safetensors file holds `in.encoder` [positions, width], and the token ids `in.before` and `in.after` the speech,
/// `in.answer` with its `<|im_end|>`, and `in.transcript`.
public struct GradientCase {
    /// The speech encoder's output, [positions, width].
    public let encoded: Tensor
    public let before: [Int32]
    public let after: [Int32]
    public let answer: [Int32]
    public let transcript: [Int32]
    /// The file, for messages.
    let origin: String

    /// - Throws: `LyraError` naming the file and the tensor that is missing or not what it should be.
    public init(path: String) throws {
        origin = path
        let file = try Safetensors(path: path)
        func stored(_ name: String) throws -> StoredTensor {
            guard let tensor = file.tensor(name) else {
                throw LyraError(.missing, "\(path): there is no tensor \(name)")
            }
            return tensor
        }
        func ids(_ name: String) throws -> [Int32] {
            try stored(name).integers().map {
                guard let id = Int32(exactly: $0) else {
                    throw LyraError(.format, "\(path): tensor \(name): \($0) is not a token")
                }
                return id
            }
        }
        encoded = try stored("in.encoder").values()
        before = try ids("in.before")
        after = try ids("in.after")
        answer = try ids("in.answer")
        transcript = try ids("in.transcript")
        guard encoded.shape.count == 2, !answer.isEmpty, !transcript.isEmpty else {
            throw LyraError(.format, "\(path): in.encoder must be a matrix; in.answer and in.transcript need tokens")
        }
    }
}

/// Losses and gradients of a `GradientCase`.
public struct GradientReport {
    /// λ: the weight of the regularizer in the total.
    public static let regularizerWeight = 0.5

    /// Mean over the answer's tokens.
    public let crossEntropy: Double
    public let regularizer: Double
    public var total: Double { crossEntropy + Self.regularizerWeight * regularizer }
    /// Gradient of the total with respect to each trained parameter: `projector.linear1.weight`,
    /// `0.self_attn.q_proj.lora_A`, … F32.
    public let gradients: [String: Tensor]

    /// Computes the losses of a case with an adapter and its own projector, and their gradients. No dropout.
    ///
    /// - Parameters:
    ///   - path, options: of the checkpoint; its precision is exact
    ///   - adapter: name of the adapter: "speech"
    ///   - extractor: where media tokens are pruned; nil for nowhere
    ///   - recomputesLayers: whether only the layers' inputs stay in memory until the gradient is computed
    /// - Throws: `LyraError` for a checkpoint that cannot be opened, an adapter that it lacks, or a case that does not
    ///   fit it.
    public init(
        of sample: GradientCase, checkpoint path: String, options: CheckpointOptions, adapter name: String,
        extractor: Extractor? = nil, recomputesLayers: Bool = false
    ) throws {
        let selection = try TrainableSelection(["adapter", "projector"], adapter: name)
        let trainables = TrainableParameters(selection)
        var options = options
        (options.trainables, options.precision) = (trainables, .exact)
        let checkpoint = try Checkpoint.open(path, options: options)
        var training = LanguageObjective.Options()
        (training.adapter, training.extractor) = (selection.adapter, extractor)
        training.regularizerWeight = Self.regularizerWeight
        training.recomputesLayers = recomputesLayers
        let objective = try LanguageObjective(checkpoint, trainables, training)
        let rows = try Self.rows(sample, checkpoint, selection.adapter)
        let sums = try objective.differentiate([rows], totals: [sample.answer.count, 1], seed: 0)
        (crossEntropy, regularizer) = (sums[0] / Double(sample.answer.count), sums[1])
        gradients = try Self.gradients(trainables)
    }

    private static func rows(_ sample: GradientCase, _ checkpoint: Checkpoint, _ adapter: Int?) throws -> ExampleRows {
        let speech = try checkpoint.speechNetworks.get().project(sample.encoded, adapter: adapter)
        let vocabulary = checkpoint.configuration.language.vocabularySize
        try ExampleCheck(vocabularySize: vocabulary, prunesMedia: false)(
            [.prompt(sample.before), .media(speech.rows), .prompt(sample.after), .answer(sample.answer)],
            transcript: sample.transcript, origin: sample.origin)
        return try ExampleRows(
            [.prompt(sample.before), .media(speech, .sequence), .prompt(sample.after), .answer(sample.answer)],
            speech: speech, transcript: sample.transcript, decoder: checkpoint.decoder, adapter: adapter)
    }

    /// The gradients of the adapter's parameters and its projector's, zeros where none arrived.
    private static func gradients(_ trainables: TrainableParameters) throws -> [String: Tensor] {
        var result: [String: Tensor] = [:]
        for element in trainables.elements {
            let name: String
            switch element.part {
            case .adapterProjector: name = "projector." + element.name
            case .adapter:
                let (prefix, suffix) = ("base_model.model.model.layers.", ".weight")
                guard element.name.hasPrefix(prefix), element.name.hasSuffix(suffix) else { continue }
                name = String(element.name.dropFirst(prefix.count).dropLast(suffix.count))
            default: continue
            }
            result[name] = try element.parameter.gradient ?? Tensor(zeros: element.parameter.shape)
        }
        return result
    }
}
