import CKernels
import Lyra
import LyraBase
import LyraModel
import LyraTensor
import LyraTools
import LyraTraining

/// What a training step of a language model with random weights changes.
enum TrainedWeights: String, CaseIterable {
    /// Low-rank updates of all matrices of the layers, over frozen weights.
    case lora
    case all
}

/// Training steps on batches of made-up examples.
struct TrainingBench {
    /// Rows of a batch: text, then media, then a question, then an answer. Without media, every token is a target.
    struct Batch {
        let tokens: Int
        let samples: Int
        /// Of the tokens, in each example.
        let mediaShare: Double

        static let opening = 16, question = 64

        var media: Range<Int> {
            Self.opening..<Self.opening + min(Int(Double(tokens) * mediaShare), tokens - Self.opening)
        }
        /// The answer's tokens; nil if all tokens are targets.
        var answer: Range<Int>? { mediaShare > 0 ? min(media.upperBound + Self.question, tokens - 1)..<tokens : nil }
    }

    /// Durations of a step's parts, in seconds.
    struct Durations {
        /// Embeddings and layers.
        var forward = 0.0
        /// Output head and cross-entropy, with their gradients.
        var loss = 0.0
        /// Gradients of the layers.
        var backward = 0.0
        var update = 0.0

        var step: Double { forward + loss + backward + update }
        var layers: Double { forward + backward }
    }

    let decoder: Decoder
    let adapter: Int?
    let parameters: [TrainableParameter]
    private var optimizer: Optimizer

    /// - Parameters:
    ///   - type: of the frozen weights; trained ones are F32
    ///   - rank: of the low-rank updates
    init(
        _ language: DecoderConfiguration, training: TrainedWeights, type: ElementType, precision: Precision, rank: Int
    ) throws {
        switch training {
        case .all:
            let trainables = TrainableParameters { _, _ in true }
            let weights = RandomWeights(seed: 1, type: .float32, precision: precision)
            decoder = try Decoder(
                TrainableSource(base: weights, part: .main, trainables: trainables), language)
            (adapter, parameters) = (nil, trainables.elements.map(\.parameter))
        case .lora:
            var decoder = try Decoder(RandomWeights(seed: 1, type: type, precision: precision), language)
            let values = RandomWeights(seed: 2, type: .float32)
            var parameters: [TrainableParameter] = []
            func parameter(_ name: String, _ shape: [Int]) throws -> Weight {
                let parameter = try TrainableParameter(name, values.floats(name, shape))
                parameters.append(parameter)
                return parameter.weight(for: precision)
            }
            adapter = try decoder.addAdapter { module, weight in
                LowRankUpdate(
                    a: try parameter(module + ".lora_A.weight", [rank, weight.inputs]),
                    b: try parameter(module + ".lora_B.weight", [weight.outputs, rank]), scale: 0.25)
            }
            (self.decoder, self.parameters) = (decoder, parameters)
        }
        optimizer = try Optimizer(groups: [Optimizer.Group(learningRate: 1e-6)])
        for parameter in parameters { try optimizer.add(parameter.name, shape: parameter.shape) }
    }

    /// One step: forward pass, loss, gradients, update.
    ///
    /// - Parameter schedule: where media tokens are pruned; nil for nowhere
    mutating func step(
        _ batch: Batch, schedule: ExtractionSchedule?, recomputesLayers: Bool
    ) throws -> Durations {
        var durations = Durations(), start = MonotonicTime.seconds
        func lap() -> Double {
            let now = MonotonicTime.seconds
            defer { start = now }
            return now - start
        }
        let output = try decoder(
            examples(batch), adapter: adapter, schedule: schedule, recomputesLayers: recomputesLayers)
        durations.forward = lap()
        let roots = try differentiateLoss(output, batch)
        durations.loss = lap()
        try backpropagate(roots)
        durations.backward = lap()
        for parameter in parameters {
            guard let gradient = parameter.gradient else { continue }
            try optimizer.update(parameter.name, parameter, gradient: gradient)
            parameter.node.clearGradient()
        }
        durations.update = lap()
        return durations
    }

    private func token(_ index: Int) -> Int32 {
        let spread = index.multipliedReportingOverflow(by: 7919).partialValue.magnitude
        return Int32(truncatingIfNeeded: spread % UInt(max(decoder.configuration.vocabularySize, 1)))
    }

    private func examples(_ batch: Batch) throws -> [BatchSample] {
        let media = batch.media, all = 0..<batch.tokens
        let question = media.upperBound..<(batch.answer?.lowerBound ?? media.upperBound)
        return try (0..<batch.samples).map { sample in
            try BatchSample(
                embeddings: decoder.embed(all.map { token(sample * batch.tokens + $0) }, adapter: adapter),
                positions: all.map { Position(Int32(clamping: $0)) },
                isMedia: all.map { batch.mediaShare > 0 && media.contains($0) },
                isQuery: all.map { batch.mediaShare > 0 && question.contains($0) })
        }
    }

    /// The rows that predict targets, with the gradient of the mean cross-entropy for each.
    private func differentiateLoss(_ output: BatchOutput, _ batch: Batch) throws -> [(Tensor, Tensor)] {
        guard let answer = batch.answer else {
            let targets = (0..<output.hidden.rows).map { token($0 + 1) }
            let (_, gradient) = try decoder.crossEntropy(
                output.hidden, targets: targets, adapter: adapter, gradientScale: 1 / Double(targets.count))
            return [(output.hidden, gradient)]
        }
        var end = 0
        return try output.rows.enumerated().map { sample, rows in
            end += rows.count
            // Each token of the answer is predicted by the row before it.
            let predicting = output.hidden.rows(end - 1 - answer.count..<end - 1)
            let targets = answer.map { token(sample * batch.tokens + $0) }
            let (_, gradient) = try decoder.crossEntropy(
                predicting, targets: targets, adapter: adapter,
                gradientScale: 1 / Double(answer.count * batch.samples))
            return (predicting, gradient)
        }
    }
}
