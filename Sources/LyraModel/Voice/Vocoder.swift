import LyraTensor

/// A unit HiFi-GAN: speech units in, waveform out (HiFi-GAN V1, arXiv 2010.05646; units and durations as in fairseq's
/// CodeHiFiGAN, arXiv 2104.00355).
///
/// Holds weights only. Any number of threads may read one; each utterance has its own `VocoderStream`.
public struct Vocoder: Sendable {
    public let configuration: VocoderConfiguration
    /// [units, embeddingDim]
    let embeddings: Tensor
    let durations: DurationPredictor
    let entry: VocoderConvolution
    let stages: [Stage]
    let exit: VocoderConvolution

    /// One transposed convolution and the residual blocks whose mean follows it.
    struct Stage: Sendable {
        let upsampling: VocoderUpsampling
        let blocks: [[Pair]]

        /// x + second(leaky(first(leaky(x)))), the unit a residual block is made of.
        struct Pair: Sendable {
            let first: VocoderConvolution
            let second: VocoderConvolution

            /// Columns after its own that an output column reads.
            var lookahead: Int { first.padding + second.padding }
        }

        /// Columns after its own, of the slowest block.
        var lookahead: Int { blocks.map { $0.reduce(0) { $0 + $1.lookahead } }.max() ?? 0 }
    }

    /// Two times convolution, ReLU and LayerNorm; then log(1 + frames) of a unit as a weighted sum. Exact in any case: a
    /// frame more or less would be heard.
    struct DurationPredictor: Sendable {
        let layers: [Layer]
        let projection: Tensor
        let bias: Float

        struct Layer: Sendable {
            let convolution: VocoderConvolution
            let normWeight: Tensor
            let normBias: Tensor
        }
    }

    /// Slope of the leaky ReLU inside the network, and of the one before the last convolution.
    static let slope: Float = 0.1
    static let lastSlope: Float = 0.01

    /// Reads and packs the weights; weight normalisation is folded.
    ///
    /// - Throws: what `configuration.validate` throws; `LyraError.missing` or `.format` for tensors that are not there or
    ///   have another shape; `LyraError.memory`.
    public init(configuration: VocoderConfiguration, weights: any WeightSource) throws {
        try configuration.validate(source: weights.origin)
        self.configuration = configuration
        let dim = configuration.embeddingDim
        embeddings = try weights.floats("dict.weight", [configuration.numEmbeddings, dim])
        durations = try DurationPredictor(weights.under("dur_predictor."), configuration)
        entry = try VocoderConvolution(
            weights, "conv_pre", inputs: dim, outputs: configuration.upsampleInitialChannel, kernel: 7)
        stages = try configuration.upsampleRates.indices.map { try Stage(weights, configuration, $0) }
        exit = try VocoderConvolution(
            weights, "conv_post", inputs: configuration.upsampleInitialChannel >> stages.count, outputs: 1, kernel: 7,
            precision: .exact)
    }

    /// Hz.
    public var sampleRate: Int { configuration.samplingRate }

    /// Samples after its own that a sample depends on: sample s is final once frames up to sample
    /// s + `lookaheadSamples` are known, or the end is.
    public var lookaheadSamples: Int {
        stages.reduce(entry.padding) { $0 * $1.upsampling.rate + $1.upsampling.padding + $1.lookahead } + exit.padding
    }

    /// Units after its own that a unit's duration depends on.
    public var lookaheadUnits: Int { durations.layers.reduce(0) { $0 + $1.convolution.padding } }
}

extension Vocoder.Stage {
    init(_ weights: any WeightSource, _ configuration: VocoderConfiguration, _ index: Int) throws {
        let channels = configuration.upsampleInitialChannel >> (index + 1)
        upsampling = try VocoderUpsampling(
            weights, "ups.\(index)", inputs: configuration.upsampleInitialChannel >> index, outputs: channels,
            kernel: configuration.upsampleKernelSizes[index], rate: configuration.upsampleRates[index])
        let kernels = configuration.resblockKernelSizes
        blocks = try kernels.indices.map { block in
            let source = weights.under("resblocks.\(index * kernels.count + block).")
            return try configuration.resblockDilationSizes[block].enumerated().map { position, dilation in
                try Pair(
                    first: VocoderConvolution(
                        source, "convs1.\(position)", inputs: channels, outputs: channels, kernel: kernels[block],
                        dilation: dilation),
                    second: VocoderConvolution(
                        source, "convs2.\(position)", inputs: channels, outputs: channels, kernel: kernels[block]))
            }
        }
    }
}

extension Vocoder.DurationPredictor {
    init(_ weights: any WeightSource, _ configuration: VocoderConfiguration) throws {
        let hidden = configuration.durationPredictor.hiddenDim
        layers = try (1...2).map { index in
            try Layer(
                convolution: VocoderConvolution(
                    weights, "conv\(index).0", inputs: index == 1 ? configuration.embeddingDim : hidden,
                    outputs: hidden, kernel: configuration.durationPredictor.kernelSize, precision: .exact),
                normWeight: weights.floats("ln\(index).weight", [hidden]),
                normBias: weights.floats("ln\(index).bias", [hidden]))
        }
        projection = try weights.floats("proj.weight", [1, hidden])
        bias = try weights.floats("proj.bias", [1]).withValues { $0[0] }
    }
}
