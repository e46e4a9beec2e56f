import LyraTensor

/// Converts speech units to a waveform (HiFi-GAN V1, arXiv 2010.05646; units and durations as in fairseq's
/// CodeHiFiGAN, arXiv 2104.00355).
///
/// Immutable weights, which any number of threads may share; each utterance has its own `VocoderStream`.
public struct Vocoder: Sendable {
    public let configuration: VocoderConfiguration
    /// [units, embeddingDim]
    let embeddings: Tensor
    let durations: DurationPredictor
    var entry: ConvolutionLayer<Convolution1D>
    var stages: [Stage]
    var exit: ConvolutionLayer<Convolution1D>

    /// A transposed convolution, and the residual blocks whose outputs are averaged after it.
    struct Stage: Sendable {
        let upsampling: ConvolutionLayer<TransposedConvolution1D>
        let residualBlocks: [[Pair]]

        /// x + second(leaky(first(leaky(x)))): one step of a residual block.
        struct Pair: Sendable {
            let first: ConvolutionLayer<Convolution1D>
            let second: ConvolutionLayer<Convolution1D>

            /// Number of later input columns that an output column depends on.
            var lookahead: Int { first.convolution.padding + second.convolution.padding }
        }

        /// The largest look-ahead of the residual blocks.
        var lookahead: Int { residualBlocks.map { $0.reduce(0) { $0 + $1.lookahead } }.max() ?? 0 }
    }

    /// Slope of the leaky ReLU, inside the network and (`lastSlope`) before the last convolution.
    static let slope: Float = 0.1
    static let lastSlope: Float = 0.01

    /// Reads and packs the weights, with weight normalisation folded in.
    ///
    /// - Throws: the errors of `configuration.validate`; `LyraError.missing` or `.format` for tensors that are missing
    ///   or have the wrong shape; `LyraError.memory`.
    public init(configuration: VocoderConfiguration, weights: any WeightSource) throws {
        try configuration.validate(source: weights.origin)
        self.configuration = configuration
        let dim = configuration.embeddingDim
        embeddings = try weights.floats("dict.weight", [configuration.numEmbeddings, dim])
        durations = try DurationPredictor(weights.under("dur_predictor."), configuration)
        entry = try ConvolutionLayer(
            weights, "conv_pre", inputs: dim, outputs: configuration.upsampleInitialChannel, kernel: 7)
        stages = try configuration.upsampleRates.indices.map { try Stage(weights, configuration, $0) }
        exit = try ConvolutionLayer(
            weights, "conv_post", inputs: configuration.upsampleInitialChannel >> stages.count, outputs: 1, kernel: 7,
            precision: .exact)
    }

    /// Hz.
    public var sampleRate: Int { configuration.samplingRate }

    /// Number of later samples that a sample depends on: sample s is final once the frames up to sample s +
    /// `lookaheadSamples` are known, or the utterance has ended.
    public var lookaheadSamples: Int {
        stages.reduce(entry.convolution.padding) { columns, stage in
            let upsampling = stage.upsampling.convolution
            return columns * upsampling.rate + upsampling.padding + stage.lookahead
        } + exit.convolution.padding
    }
}

extension Vocoder.Stage {
    init(_ weights: any WeightSource, _ configuration: VocoderConfiguration, _ index: Int) throws {
        let channels = configuration.upsampleInitialChannel >> (index + 1)
        upsampling = try ConvolutionLayer(
            weights, "ups.\(index)", inputs: configuration.upsampleInitialChannel >> index, outputs: channels,
            kernel: configuration.upsampleKernelSizes[index], rate: configuration.upsampleRates[index])
        let kernels = configuration.resblockKernelSizes
        residualBlocks = try kernels.indices.map { block in
            let source = weights.under("resblocks.\(index * kernels.count + block).")
            return try configuration.resblockDilationSizes[block].enumerated().map { position, dilation in
                try Pair(
                    first: ConvolutionLayer(
                        source, "convs1.\(position)", inputs: channels, outputs: channels, kernel: kernels[block],
                        dilation: dilation),
                    second: ConvolutionLayer(
                        source, "convs2.\(position)", inputs: channels, outputs: channels, kernel: kernels[block]))
            }
        }
    }
}

extension Vocoder: Parameterized {
    public var parameters: [Parameter] {
        [Parameter("dict.weight", embeddings)]
            + durations.parameters(under: "dur_predictor") + entry.parameters(under: "conv_pre")
            + stages.map(\.upsampling).parameters(under: "ups")
            + stages.flatMap(\.residualBlocks).enumerated().flatMap { index, pairs in
                pairs.map(\.first).parameters(under: "resblocks.\(index).convs1")
                    + pairs.map(\.second).parameters(under: "resblocks.\(index).convs2")
            }
            + exit.parameters(under: "conv_post")
    }
}
