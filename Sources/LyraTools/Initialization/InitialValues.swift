import Glibc
import LyraModel
import LyraTensor

/// The numbers with which the training of a part from nothing starts.
///
/// Random numbers are uniform, with the deviations that the rules below name: as good as normal ones, and without a
/// logarithm or cosine, whose last bits differ between systems. A tensor's numbers follow from the seed, the part, the
/// tensor's name and the part's sizes, so that a further part leaves the others as they are.
struct InitialValues: Sendable {
    enum Part: Sendable {
        /// The language model, the speech projector and the speech generator.
        case main(DecoderConfiguration, SpeechGeneratorConfiguration?)
        case speechTower(WhisperConfiguration)
        /// - Parameter layers: of the tower
        case visionTower(layers: Int)
        case vocoder(VocoderConfiguration)

        fileprivate var name: String {
            switch self {
            case .main: "main"
            case .speechTower: "speech_tower"
            case .visionTower: "vision_tower"
            case .vocoder: "vocoder"
            }
        }
    }

    let part: Part
    let seed: UInt64

    /// How a tensor's numbers are chosen.
    enum Rule {
        case constant(Float)
        /// - Parameter deviation: the standard deviation; the mean is 0
        case random(deviation: Float)
        /// A constant, with another number at the end.
        case ending(Float, last: Float)
        /// Whisper's sinusoids [positions, width].
        case sinusoids
        /// Queries and keys [width, width] that prefer near positions; the name decides the numbers.
        case near(name: String)
        /// A tensor of the language model's attention in a layer.
        case lookup(LookupStart, LookupStart.Part)
    }

    /// A tensor's numbers in one row, [elements].
    func callAsFunction(_ name: String, _ shape: [Int]) throws -> Tensor {
        let count = try FloatStorage.count(of: shape)
        func generator(_ name: String) -> UniformGenerator {
            UniformGenerator(seed: seed, name: part.name + "." + name)
        }
        return try Tensor([count]) { values in
            switch rule(name, shape) {
            case .constant(let value): values.initialize(repeating: value, count: count)
            case .ending(let value, let last):
                values.initialize(repeating: value, count: count)
                if count > 0 { values[count - 1] = last }
            case .random(let deviation):
                var generator = generator(name)
                let bound = Self.bound(deviation)
                for index in 0..<count { values[index] = generator.next() * bound }
            case .sinusoids: PositionalStart.fillSinusoids(values, positions: shape[0], width: shape[1])
            case .near(let name):
                guard case .speechTower(let whisper) = part else { return }
                var generator = generator(name)
                let bounds = PositionalStart.deviations(whisper).map { Self.bound($0) }
                for index in 0..<count { values[index] = generator.next() * bounds[index % bounds.count] }
            case .lookup(let start, let tensor):
                start.fill(tensor, values, count: count) { layer, part in
                    generator("\(Self.layerPrefix)\(layer).self_attn.\(part.rawValue)")
                }
            }
        }
    }

    /// Half the width of a uniform distribution is √3 standard deviations.
    static func bound(_ deviation: Float) -> Float { deviation * 1.732_050_8 }

    // MARK: Rules

    func rule(_ name: String, _ shape: [Int]) -> Rule {
        if case .main(let language, _) = part, let rule = lookupRule(name, language) { return rule }
        if shape.count == 1 { return vectorRule(name) }
        let inputs = max(shape.dropFirst().reduce(1, *), 1)
        switch part {
        case .main(let language, let generator): return mainRule(name, shape[0], inputs, language, generator)
        case .speechTower(let whisper): return speechTowerRule(name, inputs, whisper)
        case .visionTower(let layers): return visionTowerRule(name, shape[0], inputs, layers: layers)
        case .vocoder(let vocoder): return vocoderRule(name, shape, inputs, vocoder)
        }
    }

    /// Deviation of matrices whose rows are classes, unless they are the embeddings: GPT-2's and Qwen2's. Scores are
    /// then near 0, so that the first loss is the logarithm of the number of classes.
    static let classDeviation: Float = 0.02

    /// Deviation of embeddings, √(2 / width): near GPT-2's 0.02 at the widths of large models. Narrow models learn
    /// faster with larger rows, which are told apart sooner; a row's score with itself is then √(2 · width).
    static func embeddingDeviation(_ width: Int) -> Float { (2 / Float(max(width, 1))).squareRoot() }

    /// Score of CTC's blank before training. An utterance has fewer units than positions. A model that does not know
    /// them yet therefore learns first to emit blanks alone, or, because the positions of a token are alike at first,
    /// a blank with probability 1 − 1 / positions in each; both are hard to leave. e⁻⁴ makes blanks rarer than any
    /// unit, so that training starts from the other side.
    static let blankScore: Float = -4

    /// log(1 + frames) of the duration that is predicted at first: speech units at 50 a second last 2 frames or so.
    static let logDuration: Float = 1.098_612_3

    /// Norms start as the identity, and biases at 0.
    private func vectorRule(_ name: String) -> Rule {
        guard name.hasSuffix("bias") else { return .constant(1) }
        if name == "speech_generator.output_proj.bias" { return .ending(0, last: Self.blankScore) }
        return .constant(name == "dur_predictor.proj.bias" ? Self.logDuration : 0)
    }

    /// Outputs as large as the inputs: 1 / √inputs. GPT-2's 0.02 is about half of that at its width of 768, and a
    /// seventh at 192, where signals and gradients of later layers would be too small to learn fast.
    private static func kept(_ inputs: Int, scale: Float = 1) -> Rule {
        .random(deviation: scale / Float(inputs).squareRoot())
    }

    /// A matrix whose output is added to a network's residual stream. The 2 · layers of them add up to as much as the
    /// stream begins with, as in GPT-2, so that neither the input nor a layer is drowned.
    ///
    /// - Parameter stream: size (root mean square) of the stream before the first layer
    private static func residual(_ inputs: Int, layers: Int, stream: Float = 1) -> Rule {
        kept(inputs, scale: stream / Float(2 * max(layers, 1)).squareRoot())
    }

    /// The last matrix of a projector after ReLU or GELU, which halve the mean square: media tokens enter the language
    /// model as large as embeddings.
    private static func projected(_ inputs: Int, to width: Int) -> Rule {
        kept(inputs, scale: embeddingDeviation(width) * Float(2).squareRoot())
    }

    private static let layerPrefix = "model.layers."

    /// Of the attention of the language model's layers; nil for other tensors.
    private func lookupRule(_ name: String, _ language: DecoderConfiguration) -> Rule? {
        guard name.hasPrefix(Self.layerPrefix) else { return nil }
        let parts = name.dropFirst(Self.layerPrefix.count).split(separator: ".", maxSplits: 2)
        guard parts.count == 3, parts[1] == "self_attn", let layer = Int(parts[0]),
            let tensor = LookupStart.Part(rawValue: String(parts[2])),
            let start = LookupStart(language, layer: layer, stream: Self.embeddingDeviation(language.hiddenSize))
        else { return nil }
        return .lookup(start, tensor)
    }

    private func mainRule(
        _ name: String, _ outputs: Int, _ inputs: Int, _ language: DecoderConfiguration,
        _ generator: SpeechGeneratorConfiguration?
    ) -> Rule {
        let isResidual = name.hasSuffix(".o_proj.weight") || name.hasSuffix(".down_proj.weight")
        if name.hasPrefix("speech_generator.") {
            // Its stream begins with a projection of normed hidden states, whose size is 1.
            if isResidual { return Self.residual(inputs, layers: generator?.layers ?? 1) }
            let isHead = name == "speech_generator.output_proj.weight"
            return isHead ? .random(deviation: Self.classDeviation) : Self.kept(inputs)
        }
        let stream = Self.embeddingDeviation(language.hiddenSize)
        if name == "model.embed_tokens.weight" { return .random(deviation: stream) }
        if name == "lm_head.weight" { return .random(deviation: Self.classDeviation) }
        if name.hasSuffix("mm_speech_projector.linear2.weight") { return Self.projected(inputs, to: outputs) }
        return isResidual ? Self.residual(inputs, layers: language.layers, stream: stream) : Self.kept(inputs)
    }

    /// Gain of the speech tower's convolutions: log-mels have a deviation of about a half, and GELU halves the mean
    /// square. With this gain features are about as large as the sinusoids that are added, and sounds are told apart
    /// from the first update on.
    private static let stemGain: Float = 2.2

    private func speechTowerRule(_ name: String, _ inputs: Int, _ whisper: WhisperConfiguration) -> Rule {
        if name.hasSuffix("embed_positions.weight") { return .sinusoids }
        if name.contains("conv1.") || name.contains("conv2.") { return Self.kept(inputs, scale: Self.stemGain) }
        if name.hasSuffix(".q_proj.weight") { return .near(name: name) }
        if name.hasSuffix(".k_proj.weight") {
            return .near(name: String(name.dropLast("k_proj.weight".count)) + "q_proj.weight")
        }
        let isResidual = name.hasSuffix(".out_proj.weight") || name.hasSuffix(".fc2.weight")
        return isResidual ? Self.residual(inputs, layers: whisper.layers) : Self.kept(inputs)
    }

    private func visionTowerRule(_ name: String, _ outputs: Int, _ inputs: Int, layers: Int) -> Rule {
        if name == "merger.mlp.2.weight" { return Self.projected(inputs, to: outputs) }
        let isResidual = name.hasSuffix(".attn.proj.weight") || name.hasSuffix(".mlp.fc2.weight")
        return isResidual ? Self.residual(inputs, layers: layers) : Self.kept(inputs)
    }

    /// Deviation of the samples before training: quiet, so that tanh is linear and no click has to be unlearned.
    private static let quiet: Float = 0.1

    /// HiFi-GAN's own N(0, 0.01) fits its 512 channels. With 128 and fewer it shrinks the signal to a fifth or less in
    /// each of five stages, so that the first layers get no gradient. Here every stage keeps the signal's size: leaky
    /// ReLU halves the mean square, hence the factors √2.
    private func vocoderRule(_ name: String, _ shape: [Int], _ inputs: Int, _ vocoder: VocoderConfiguration) -> Rule {
        let root2 = Float(2).squareRoot(), parts = name.split(separator: ".")
        switch parts.first {
        case "dict": return .random(deviation: 1)
        case "ups":
            // [inputs, outputs, kernel]: a sample sums kernel / rate taps of each input.
            guard parts.count > 1, let stage = Int(parts[1]), vocoder.upsampleRates.indices.contains(stage) else {
                return Self.kept(inputs)
            }
            let taps = Float(shape[0] * (shape.last ?? 1)) / Float(vocoder.upsampleRates[stage])
            return .random(deviation: root2 / max(taps, 1).squareRoot())
        case "resblocks":
            // What the blocks of all stages add is at most what goes in, times e.
            let pairs = vocoder.resblockDilationSizes.map(\.count).max() ?? 1
            let added = Float(max(pairs * vocoder.upsampleRates.count, 1)).squareRoot()
            return Self.kept(inputs, scale: name.contains(".convs2.") ? root2 / added : root2)
        case "conv_post": return Self.kept(inputs, scale: root2 * Self.quiet)
        case "dur_predictor":
            // All units begin with nearly the same duration, that of the bias.
            return Self.kept(inputs, scale: name.hasSuffix("proj.weight") ? Self.quiet : root2)
        default: return Self.kept(inputs)
        }
    }
}
