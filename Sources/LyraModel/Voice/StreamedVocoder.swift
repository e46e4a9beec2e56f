import LyraTensor

// The vocoder's network for one utterance. Signals are tensors [channels, columns]. Every layer makes all output
// columns that its input determines and keeps, as its history, the input columns that later outputs depend on. So each
// column is computed once, by the same operations for any division into pieces, and a layer writes its output directly
// after the next layer's history.

/// A convolution over a signal that arrives in pieces.
struct StreamedConvolution {
    let convolution: Convolution1D
    /// The input columns before the next piece; initially the zeros before the signal.
    private(set) var history: Tensor

    init(_ convolution: Convolution1D) throws {
        self.convolution = convolution
        history = try Tensor(zeros: [convolution.inputs, convolution.padding])
    }

    /// Keeps the input columns that later outputs depend on as the new history. The caller convolves the result.
    ///
    /// - Parameters:
    ///   - input: the history, then the new columns
    ///   - isLast: whether the signal ends with these columns
    /// - Returns: the input, with zeros after it if the signal ends
    mutating func keepHistory(of input: Tensor, isLast: Bool) throws -> Tensor {
        let whole = isLast ? try input.padded(columns: convolution.padding) : input
        history = try whole.copy(columnsFrom: convolution.outputColumns(whole.columns))
        return whole
    }
}

/// The state of a residual block: x + second(leaky(first(leaky(x)))), for each pair of convolutions.
struct StreamedResidualBlock {
    private var pairs: [Pair]
    /// Output columns that wait for the stage's residual block with the longest look-ahead.
    var waiting: Tensor

    private struct Pair {
        var first: StreamedConvolution
        var second: StreamedConvolution
        /// Columns of x that are not yet added to the block's output.
        var residual: Tensor
    }

    init(_ pairs: [Vocoder.Stage.Pair], channels: Int) throws {
        let none = try Tensor(zeros: [channels, 0])
        self.pairs = try pairs.map {
            Pair(
                first: try StreamedConvolution($0.first.convolution),
                second: try StreamedConvolution($0.second.convolution), residual: none)
        }
        waiting = none
    }

    /// Takes the next columns of the stage's signal. → the waiting columns, then the new ones
    mutating func push(_ signal: Tensor, isLast: Bool) throws -> Tensor {
        guard let entry = pairs.first else { return waiting }
        var x = try signal.after(entry.residual)
        var activated = try signal.leakyRelu(slope: Vocoder.slope, after: entry.first.history)
        for index in pairs.indices {
            let following = index + 1 < pairs.count ? pairs[index + 1] : nil
            let middle = try pairs[index].first.convolution.activated(
                pairs[index].first.keepHistory(of: activated, isLast: isLast), slope: Vocoder.slope,
                after: pairs[index].second.history)
            let second = pairs[index].second.convolution
            let input = try pairs[index].second.keepHistory(of: middle, isLast: isLast)
            pairs[index].residual = try x.copy(columnsFrom: second.outputColumns(input.columns))
            guard let following else { return try second(input, addedTo: x, after: waiting) }
            (x, activated) = try second.withActivation(
                input, addedTo: x, slope: Vocoder.slope, after: following.residual,
                activatedAfter: following.first.history)
        }
        return waiting
    }
}

/// The state of a stage: a transposed convolution, and the mean of the residual blocks after it.
struct StreamedStage {
    private let upsampling: TransposedConvolution1D
    private var residualBlocks: [StreamedResidualBlock]
    /// Activated input columns before the next piece.
    private(set) var history: Tensor
    private var received = 0
    private var emitted = 0
    /// Upsampled columns still to be cut at the start of the signal.
    private var cut: Int

    init(_ stage: Vocoder.Stage) throws {
        upsampling = stage.upsampling.convolution
        history = try Tensor(zeros: [upsampling.inputs, upsampling.reach - 1])
        cut = upsampling.padding
        let channels = upsampling.outputs
        residualBlocks = try stage.residualBlocks.map { try StreamedResidualBlock($0, channels: channels) }
    }

    /// leaky(mean of the residual blocks over the upsampled signal).
    ///
    /// - Parameters:
    ///   - input: the history, then the next activated columns
    ///   - isLast: whether the signal ends with these columns
    ///   - slope: slope of the leaky ReLU
    ///   - following: history of the next layer
    /// - Returns: `following`, then the new columns
    mutating func push(_ input: Tensor, isLast: Bool, slope: Float, after following: Tensor) throws -> Tensor {
        let signal = try upsample(input, isLast: isLast)
        var made: [Tensor] = []
        for index in residualBlocks.indices { made.append(try residualBlocks[index].push(signal, isLast: isLast)) }
        let ready = made.map(\.columns).min() ?? 0
        for index in residualBlocks.indices { residualBlocks[index].waiting = try made[index].copy(columnsFrom: ready) }
        return try Tensor.leakyReluOfMean(made.map { $0.columns(0..<ready) }, slope: slope, after: following)
    }

    private mutating func upsample(_ input: Tensor, isLast: Bool) throws -> Tensor {
        let rate = upsampling.rate, new = input.columns - history.columns
        let zeros = isLast ? (upsampling.padding + rate - 1) / rate : 0
        let whole = try input.padded(columns: zeros)
        let upsampled = try upsampling(whole)
        history = try whole.copy(columnsFrom: new + zeros)
        received += new
        let first = min(cut, upsampled.columns)
        cut -= first
        let made = upsampled.columns - first
        let count = isLast ? min(made, received * rate - emitted) : made
        emitted += count
        return upsampled.columns(first..<first + count)
    }
}

/// The waveform of one utterance: takes the unit of each frame, returns samples.
struct StreamedWaveform {
    private let embeddings: Tensor
    private var entry: StreamedConvolution
    private var stages: [StreamedStage]
    private var exit: StreamedConvolution

    init(_ vocoder: Vocoder) throws {
        embeddings = vocoder.embeddings
        entry = try StreamedConvolution(vocoder.entry.convolution)
        stages = try vocoder.stages.map { try StreamedStage($0) }
        exit = try StreamedConvolution(vocoder.exit.convolution)
    }

    /// Takes the next frames. → the samples that became final, [1, any]
    ///
    /// - Parameters:
    ///   - units: one for each frame
    ///   - isLast: whether the utterance ends with these frames
    mutating func push(_ units: [Int32], isLast: Bool) throws -> Tensor? {
        guard let first = stages.first else { return nil }
        let embedded = try embeddings.keepingRows(units).transposed().after(entry.history)
        let entered = try entry.keepHistory(of: embedded, isLast: isLast)
        var x = try entry.convolution.activated(entered, slope: Vocoder.slope, after: first.history)
        for index in stages.indices {
            guard x.columns > stages[index].history.columns || isLast else { return nil }
            let isEnd = index + 1 == stages.count
            x = try stages[index].push(
                x, isLast: isLast, slope: isEnd ? Vocoder.lastSlope : Vocoder.slope,
                after: isEnd ? exit.history : stages[index + 1].history)
        }
        return try exit.convolution(exit.keepHistory(of: x, isLast: isLast)).tanh()
    }
}
