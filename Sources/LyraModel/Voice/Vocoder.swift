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
    let entry: Convolution1D
    let stages: [Stage]
    let exit: Convolution1D

    /// A transposed convolution, and the residual blocks whose outputs are averaged after it.
    struct Stage: Sendable {
        let upsampling: TransposedConvolution1D
        let residualBlocks: [[Pair]]

        /// x + second(leaky(first(leaky(x)))): one step of a residual block.
        struct Pair: Sendable {
            let first: Convolution1D
            let second: Convolution1D

            /// Number of later input columns that an output column depends on.
            var lookahead: Int { first.padding + second.padding }
        }

        /// The largest lookahead of the residual blocks.
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
        entry = try Convolution1D(
            weights, "conv_pre", inputs: dim, outputs: configuration.upsampleInitialChannel, kernel: 7)
        stages = try configuration.upsampleRates.indices.map { try Stage(weights, configuration, $0) }
        exit = try Convolution1D(
            weights, "conv_post", inputs: configuration.upsampleInitialChannel >> stages.count, outputs: 1, kernel: 7,
            precision: .exact)
    }

    /// Hz.
    public var sampleRate: Int { configuration.samplingRate }

    /// Number of later samples that a sample depends on: sample s is final once the frames up to sample s +
    /// `lookaheadSamples` are known, or the utterance has ended.
    public var lookaheadSamples: Int {
        stages.reduce(entry.padding) { $0 * $1.upsampling.rate + $1.upsampling.padding + $1.lookahead } + exit.padding
    }

    /// Number of later units that a unit's duration depends on.
    public var lookaheadUnits: Int { durations.layers.reduce(0) { $0 + $1.convolution.padding } }
}

extension Vocoder.Stage {
    init(_ weights: any WeightSource, _ configuration: VocoderConfiguration, _ index: Int) throws {
        let channels = configuration.upsampleInitialChannel >> (index + 1)
        upsampling = try TransposedConvolution1D(
            weights, "ups.\(index)", inputs: configuration.upsampleInitialChannel >> index, outputs: channels,
            kernel: configuration.upsampleKernelSizes[index], rate: configuration.upsampleRates[index])
        let kernels = configuration.resblockKernelSizes
        residualBlocks = try kernels.indices.map { block in
            let source = weights.under("resblocks.\(index * kernels.count + block).")
            return try configuration.resblockDilationSizes[block].enumerated().map { position, dilation in
                try Pair(
                    first: Convolution1D(
                        source, "convs1.\(position)", inputs: channels, outputs: channels, kernel: kernels[block],
                        dilation: dilation),
                    second: Convolution1D(
                        source, "convs2.\(position)", inputs: channels, outputs: channels, kernel: kernels[block]))
            }
        }
    }
}

extension Convolution1D {
    /// Reads `name`.weight (or weight_g and weight_v) [outputs, inputs, kernel] and `name`.bias.
    ///
    /// - Parameter precision: nil for the source's precision
    init(
        _ source: any WeightSource, _ name: String, inputs: Int, outputs: Int, kernel: Int, dilation: Int = 1,
        precision: Precision? = nil
    ) throws {
        try self.init(
            source.foldedWeight(name, [outputs, inputs, kernel]), bias: source.floats(name + ".bias", [outputs]),
            dilation: dilation, precision: precision ?? source.precision)
    }
}

extension TransposedConvolution1D {
    /// Reads `name`.weight (or weight_g and weight_v) [inputs, outputs, kernel] and `name`.bias.
    init(_ source: any WeightSource, _ name: String, inputs: Int, outputs: Int, kernel: Int, rate: Int) throws {
        try self.init(
            source.foldedWeight(name, [inputs, outputs, kernel]), bias: source.floats(name + ".bias", [outputs]),
            rate: rate, precision: source.precision)
    }
}

extension WeightSource {
    /// `name`.weight, or gain · v / |v| if the checkpoint kept weight normalisation (arXiv 1602.07868). The norm
    /// covers all axes except the first.
    fileprivate func foldedWeight(_ name: String, _ shape: [Int]) throws -> Tensor {
        if contains(name + ".weight") { return try floats(name + ".weight", shape) }
        let gains = try floats(name + ".weight_g", [shape.first ?? 1] + shape.dropFirst().map { _ in 1 })
        return try floats(name + ".weight_v", shape)
            .foldingWeightNorm(gains: gains, name: "\(origin): \(name).weight_v")
    }
}
