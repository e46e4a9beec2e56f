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

    /// - Throws: `LyraError` naming the file and the tensor that is missing or not what it should be.
    public init(path: String) throws {
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
        let trainables = TrainableParameters { part, _ in
            switch part {
            case .adapter, .adapterProjector: true
            default: false
            }
        }
        var options = options
        (options.trainables, options.precision) = (trainables, .exact)
        let checkpoint = try Checkpoint.open(path, options: options), decoder = checkpoint.decoder
        guard let adapter = checkpoint.adapterIndex(name) else {
            throw LyraError(
                .argument,
                "\(path): there is no adapter \(shown(name)); the model has "
                    + checkpoint.adapters.map { shown($0) }.joined(separator: ", "))
        }
        let (row, speech) = try Self.batchSample(sample, checkpoint, adapter)
        let output = try decoder(
            [row], adapter: adapter,
            schedule: extractor.flatMap { ExtractionSchedule($0, layers: decoder.layerCount) },
            recomputesLayers: recomputesLayers)
        // Each token of the answer is predicted by the row before it.
        let end = output.hidden.rows - 1
        let predicting = output.hidden.rows(end - sample.answer.count..<end)
        let (loss, gradient) = try decoder.crossEntropy(
            predicting, targets: sample.answer, adapter: adapter, gradientScale: 1 / Double(sample.answer.count))
        let aligned = try CrossModalityRegularizer(temperature: checkpoint.configuration.alignmentTemperature)(
            speech: speech.detached, text: decoder.embed(sample.transcript, adapter: adapter),
            gradientScale: Self.regularizerWeight,
            wantsTextGradient: false)
        try backpropagate([(predicting, gradient), (speech, aligned.speechGradient)])
        (crossEntropy, regularizer) = (loss.mean ?? 0, aligned.loss)
        gradients = try Self.gradients(trainables, adapter)
    }

    /// The sample's rows, and among them the projected speech, whose gradient the regularizer adds to.
    private static func batchSample(
        _ sample: GradientCase, _ checkpoint: Checkpoint, _ adapter: Int
    ) throws -> (BatchSample, speech: Tensor) {
        let decoder = checkpoint.decoder
        let speech = try checkpoint.speechNetworks.get().project(sample.encoded, adapter: adapter)
        let embeddings = try Tensor.stacking([
            decoder.embed(sample.before, adapter: adapter), speech, decoder.embed(sample.after, adapter: adapter),
            decoder.embed(sample.answer, adapter: adapter),
        ])
        guard embeddings.rows > sample.answer.count else {
            throw LyraError(.argument, "the case has no row before the answer, which would predict its first token")
        }
        let media = sample.before.count..<sample.before.count + speech.rows
        let question = media.upperBound..<media.upperBound + sample.after.count
        let all = 0..<embeddings.rows
        let row = try BatchSample(
            embeddings: embeddings, positions: all.map { Position(Int32(clamping: $0)) },
            isMedia: all.map(media.contains), isQuery: all.map(question.contains))
        return (row, speech)
    }

    /// The gradients of the adapter's parameters and its projector's, zeros where none arrived.
    private static func gradients(_ trainables: TrainableParameters, _ adapter: Int) throws -> [String: Tensor] {
        var result: [String: Tensor] = [:]
        for element in trainables.elements {
            let name: String
            switch element.part {
            case .adapterProjector(adapter): name = "projector." + element.name
            case .adapter(adapter):
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
