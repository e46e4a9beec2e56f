import LyraBase

/// The config.json beside a unit HiFi-GAN (fairseq's CodeHiFiGAN): layer sizes.
public struct VocoderConfiguration: Codable, Sendable {
    /// Kind of residual block; lyra runs "1", with two convolutions for each dilation.
    public var resblock: String
    /// Upsampling factor of each stage.
    public var upsampleRates: [Int]
    /// Kernel size of each stage's transposed convolution.
    public var upsampleKernelSizes: [Int]
    /// Channels before the first stage; each stage halves them.
    public var upsampleInitialChannel: Int
    /// Kernel size of each residual block in a stage.
    public var resblockKernelSizes: [Int]
    /// Dilations of each residual block in a stage.
    public var resblockDilationSizes: [[Int]]
    /// Number of speech units.
    public var numEmbeddings: Int
    public var embeddingDim: Int
    public var modelInDim: Int
    /// Samples in a frame: the product of the rates.
    public var codeHopSize: Int
    /// Hz.
    public var samplingRate: Int
    public var durationPredictor: DurationPredictor

    /// Two convolutions that predict the number of frames of a unit.
    public struct DurationPredictor: Codable, Sendable {
        public var inputDim: Int
        public var hiddenDim: Int
        public var kernelSize: Int

        enum CodingKeys: String, CodingKey {
            case inputDim = "encoder_embed_dim"
            case hiddenDim = "var_pred_hidden_dim"
            case kernelSize = "var_pred_kernel_size"
        }
    }

    enum CodingKeys: String, CodingKey {
        case resblock
        case upsampleRates = "upsample_rates"
        case upsampleKernelSizes = "upsample_kernel_sizes"
        case upsampleInitialChannel = "upsample_initial_channel"
        case resblockKernelSizes = "resblock_kernel_sizes"
        case resblockDilationSizes = "resblock_dilation_sizes"
        case numEmbeddings = "num_embeddings"
        case embeddingDim = "embedding_dim"
        case modelInDim = "model_in_dim"
        case codeHopSize = "code_hop_size"
        case samplingRate = "sampling_rate"
        case durationPredictor = "dur_predictor_params"
    }

    /// HiFi-GAN V1 at 16 kHz, 50 frames per second. Defaults are the sizes of the published vocoder for mHuBERT units.
    public init(units: Int = 1000, initialChannels: Int = 512, embeddingDim: Int = 128) {
        resblock = "1"
        upsampleRates = [5, 4, 4, 2, 2]
        upsampleKernelSizes = [11, 8, 8, 4, 4]
        upsampleInitialChannel = initialChannels
        resblockKernelSizes = [3, 7, 11]
        resblockDilationSizes = [[1, 3, 5], [1, 3, 5], [1, 3, 5]]
        numEmbeddings = units
        self.embeddingDim = embeddingDim
        modelInDim = embeddingDim
        codeHopSize = 320
        samplingRate = 16000
        durationPredictor = DurationPredictor(inputDim: embeddingDim, hiddenDim: embeddingDim, kernelSize: 3)
    }

    /// Checks that the sizes are consistent and small enough that no sum or product overflows.
    ///
    /// - Throws: `LyraError.format`, or `LyraError.unsupported` for another kind of network, naming `source`.
    public func validate(source: String) throws {
        guard resblock == "1" else {
            throw LyraError(.unsupported, "\(source): resblock is \(shown(resblock)); lyra runs resblock \"1\"")
        }
        try check("num_embeddings", numEmbeddings, 1...1 << 20, source)
        try check("embedding_dim", embeddingDim, 1...4096, source)
        try check("upsample_initial_channel", upsampleInitialChannel, 1...8192, source)
        try check("sampling_rate", samplingRate, 1000...384_000, source)
        guard modelInDim == embeddingDim, durationPredictor.inputDim == embeddingDim else {
            throw LyraError(
                .unsupported,
                "\(source): model_in_dim (\(modelInDim)) and encoder_embed_dim (\(durationPredictor.inputDim)) must "
                    + "equal embedding_dim (\(embeddingDim)); lyra runs vocoders of one voice without pitch")
        }
        try check("var_pred_hidden_dim", durationPredictor.hiddenDim, 1...4096, source)
        guard durationPredictor.kernelSize == 3 else {
            throw LyraError(
                .unsupported, "\(source): var_pred_kernel_size is \(durationPredictor.kernelSize); lyra runs 3")
        }
        try validateStages(source)
        try validateBlocks(source)
        try validateLookahead(source)
    }

    private func validateStages(_ source: String) throws {
        try check("the number of upsample_rates", upsampleRates.count, 1...16, source)
        guard upsampleKernelSizes.count == upsampleRates.count else {
            throw LyraError(.format, "\(source): upsample_rates and upsample_kernel_sizes differ in length")
        }
        guard upsampleInitialChannel >> upsampleRates.count >= 1 else {
            throw LyraError(
                .format,
                "\(source): \(upsampleInitialChannel) channels cannot be halved in each of \(upsampleRates.count) "
                    + "stages"
            )
        }
        var hop = 1
        for (stage, (rate, kernel)) in zip(upsampleRates, upsampleKernelSizes).enumerated() {
            try check("an upsample rate", rate, 1...64, source)
            try check("an upsample kernel size", kernel, rate...256, source)
            guard (kernel - rate) % 2 == 0 else {
                throw LyraError(
                    .format, "\(source): an upsample kernel of \(kernel) taps cannot be centred over a rate of \(rate)")
            }
            hop *= rate
            guard hop <= 4096, hop * (upsampleInitialChannel >> stage) <= 1 << 18 else {
                throw LyraError(.format, "\(source): \(hop) columns a frame at stage \(stage) exceed lyra's limit")
            }
        }
        guard hop == codeHopSize else {
            throw LyraError(
                .format, "\(source): code_hop_size is \(codeHopSize), but the upsample_rates multiply to \(hop)")
        }
    }

    private func validateBlocks(_ source: String) throws {
        try check("the number of resblock_kernel_sizes", resblockKernelSizes.count, 1...8, source)
        guard resblockDilationSizes.count == resblockKernelSizes.count else {
            throw LyraError(.format, "\(source): resblock_kernel_sizes and resblock_dilation_sizes differ in length")
        }
        for kernel in resblockKernelSizes {
            try check("a resblock kernel size", kernel, 1...63, source)
            guard kernel % 2 == 1 else {
                throw LyraError(.format, "\(source): a resblock kernel of \(kernel) taps has no middle; it must be odd")
            }
        }
        for dilations in resblockDilationSizes {
            try check("the number of a resblock's dilations", dilations.count, 1...8, source)
            for dilation in dilations { try check("a resblock dilation", dilation, 1...64, source) }
        }
    }

    /// Layers buffer as many columns as they look ahead; this bounds the buffers.
    private func validateLookahead(_ source: String) throws {
        let slowest = zip(resblockKernelSizes, resblockDilationSizes).map { kernel, dilations in
            dilations.reduce(0) { $0 + (kernel - 1) / 2 * ($1 + 1) }
        }.max()
        var columns = 3
        for (stage, (rate, kernel)) in zip(upsampleRates, upsampleKernelSizes).enumerated() {
            columns = columns * rate + (kernel - rate) / 2 + (slowest ?? 0)
            guard columns * (upsampleInitialChannel >> (stage + 1)) <= 1 << 22 else {
                throw LyraError(
                    .format, "\(source): a look-ahead of \(columns) columns at stage \(stage) exceeds lyra's limit")
            }
        }
    }

    private func check(_ name: String, _ value: Int, _ range: ClosedRange<Int>, _ source: String) throws {
        guard range.contains(value) else {
            throw LyraError(
                .format, "\(source): \(name) is \(value), but must be \(range.lowerBound) to \(range.upperBound)")
        }
    }
}
