import CKernels
import LyraBase

// Signals are tensors [channels, columns]. A convolution makes only the output columns that its input determines, so a
// signal can be convolved piece by piece: columns that still lack input follow with the next piece. Every value is
// summed in the same order at any position, so convolving in pieces gives the same bits.

/// A 1-D convolution with bias, packed for the kernels.
public struct Convolution1D: Sendable {
    public let inputs: Int
    public let outputs: Int
    public let kernel: Int
    public let dilation: Int
    let packed: FloatStorage
    private let bias: Tensor
    let precision: Precision
    /// Gradients of the weight and the bias; nil where they are frozen. A convolution shows the values that its
    /// parameters had when it was made.
    let weightNode, biasNode: GradientNode?

    /// Input columns beyond the first that an output column depends on.
    public var span: Int { (kernel - 1) * dilation }
    /// Columns of zeros at either end that preserve the signal's length.
    public var padding: Int { span / 2 }

    /// - Parameters:
    ///   - weight: [outputs, inputs, kernel]
    ///   - bias: [outputs]
    ///   - precision: `fast` rounds the signal and the weights to BF16
    public init(_ weight: Tensor, bias: Tensor, dilation: Int = 1, precision: Precision = .exact) throws {
        guard weight.shape.count == 3, weight.count > 0, bias.count == weight.rows, dilation > 0 else {
            throw LyraError(.argument, "a weight \(weight.shape) with a bias \(bias.shape) does not form a convolution")
        }
        let (outputs, inputs, kernel) = (weight.shape[0], weight.shape[1], weight.shape[2])
        (self.inputs, self.outputs, self.kernel, self.dilation) = (inputs, outputs, kernel, dilation)
        (self.bias, self.precision) = (try bias.contiguous(), precision)
        (weightNode, biasNode) = (weight.node, bias.node)
        let floats = precision == .exact ? lk_conv1d_packed_count : lk_conv1d_pairs_count
        let pack = precision == .exact ? lk_conv1d_pack : lk_conv1d_pack_pairs
        let packed = try FloatStorage(count: floats(inputs, outputs, kernel))
        try weight.withValues { pack(packed.base, $0, inputs, outputs, kernel) }
        self.packed = packed
    }

    /// Output columns that `columns` input columns determine.
    public func outputColumns(_ inputColumns: Int) -> Int { max(0, inputColumns - span) }

    /// self ∗ x, plus `residual` if there is one. [inputs, columns] → [outputs, outputColumns(columns)]
    ///
    /// - Parameters:
    ///   - residual: [outputs, at least the output's columns]
    ///   - history: columns [outputs, any] to prepend to the result
    public func callAsFunction(_ x: Tensor, addedTo residual: Tensor? = nil, after history: Tensor? = nil) throws
        -> Tensor
    {
        let made = outputColumns(x.columns)
        guard isTracked(x, residual, history) else {
            return try Tensor(signal: outputs, columns: made, after: history) { y, stride in
                try run(x, made, residual, Target(y: y, stride: stride), nil, slope: 0)
            }
        }
        let y = try Tensor(signal: outputs, columns: made) { y, stride in
            try run(x, made, residual, Target(y: y, stride: stride), nil, slope: 0)
        }
        let record = ConvolutionRecord(convolution: self, x: x, residual: residual?.node)
        return try y.recorded(.convolution(record)).after(history)
    }

    /// Whether a result has a gradient to pass on.
    private func isTracked(_ operands: Tensor?...) -> Bool {
        weightNode != nil || biasNode != nil || operands.contains { $0?.isTracked ?? false }
    }

    /// leakyReLU(self ∗ x), with the same parameters. A slope of 0 gives ReLU.
    public func activated(_ x: Tensor, slope: Float, after history: Tensor? = nil) throws -> Tensor {
        if isTracked(x, history) { return try self(x).leakyRelu(slope: slope).after(history) }
        let made = outputColumns(x.columns)
        return try Tensor(signal: outputs, columns: made, after: history) { y, stride in
            try run(x, made, nil, nil, Target(y: y, stride: stride), slope: slope)
        }
    }

    /// y = self ∗ x + residual and leakyReLU(y), in one pass.
    ///
    /// - Parameters:
    ///   - history: columns to prepend to y
    ///   - activatedHistory: columns to prepend to leakyReLU(y)
    public func withActivation(
        _ x: Tensor, addedTo residual: Tensor, slope: Float, after history: Tensor,
        activatedAfter activatedHistory: Tensor
    ) throws -> (plain: Tensor, activated: Tensor) {
        if isTracked(x, residual, history, activatedHistory) {
            let y = try self(x, addedTo: residual)
            return try (y.after(history), y.leakyRelu(slope: slope).after(activatedHistory))
        }
        let made = outputColumns(x.columns)
        return try Tensor.pair(signals: outputs, columns: made, after: history, activatedHistory) {
            try run(x, made, residual, $0, $1, slope: slope)
        }
    }

    fileprivate struct Target {
        var y: UnsafeMutablePointer<Float>
        var stride: Int
    }

    private func run(
        _ x: Tensor, _ columns: Int, _ residual: Tensor?, _ plain: Target?, _ activated: Target?, slope: Float
    ) throws {
        guard x.rows == inputs, residual.map({ $0.rows == outputs && $0.columns >= columns }) ?? true else {
            throw LyraError(
                .argument, "a convolution of \(inputs) to \(outputs) channels does not take a signal \(x.shape)")
        }
        guard columns > 0 else { return }
        let status = x.withMatrix { x, stride in
            bias.withMatrix { bias, _ in
                withResidual(residual) { residual, residualStride in
                    var output = lk_conv1d_output(
                        add: residual, ld_add: residualStride, y: plain?.y, ldy: plain?.stride ?? 0,
                        activated: activated?.y, ld_activated: activated?.stride ?? 0, slope: slope)
                    let convolve = precision == .exact ? lk_conv1d_into : lk_conv1d_pairs_into
                    return convolve(
                        &output, x, stride, columns, packed.base, bias, inputs, outputs, kernel, dilation)
                }
            }
        }
        withExtendedLifetime(packed) {}
        try checkKernel(status, "a convolution")
    }

    private func withResidual<R>(_ residual: Tensor?, _ body: (UnsafePointer<Float>?, Int) -> R) -> R {
        guard let residual else { return body(nil, 0) }
        return residual.withMatrix { body($0, $1) }
    }
}

/// A transposed 1-D convolution of stride `rate`, computed as one ordinary convolution for each of the `rate` phases.
///
/// Input column t contributes its `kernel` taps to the output columns from t · rate on. The caller cuts the first and
/// last `padding` output columns. Each group of `rate` output columns depends on `reach` input columns: its own and
/// those before it.
public struct TransposedConvolution1D: Sendable {
    public let rate: Int
    public let kernel: Int
    public let inputs: Int
    public let outputs: Int
    let phases: [Convolution1D]
    /// Gradients of the weight and the bias; nil where they are frozen.
    let weightNode, biasNode: GradientNode?

    /// Input columns that one group of output columns depends on.
    public var reach: Int { (kernel + rate - 1) / rate }
    /// Output columns for the caller to cut at either end.
    public var padding: Int { (kernel - rate) / 2 }

    /// - Parameters:
    ///   - weight: [inputs, outputs, kernel]
    ///   - bias: [outputs]
    public init(_ weight: Tensor, bias: Tensor, rate: Int, precision: Precision) throws {
        guard weight.shape.count == 3, weight.count > 0, rate > 0, weight.shape[2] >= rate else {
            throw LyraError(
                .argument, "a weight \(weight.shape) does not form a transposed convolution of stride \(rate)")
        }
        let (inputs, outputs, kernel) = (weight.shape[0], weight.shape[1], weight.shape[2])
        (self.rate, self.kernel, self.inputs, self.outputs) = (rate, kernel, inputs, outputs)
        (weightNode, biasNode) = (weight.node, bias.node)
        let bias = bias.detached
        phases = try (0..<rate).map { phase in
            let taps = (kernel - phase + rate - 1) / rate
            let phaseWeight = try Tensor([outputs, inputs, taps]) { out in
                try weight.withValues { weight in
                    for output in 0..<outputs {
                        for input in 0..<inputs {
                            for tap in 0..<taps {
                                out[(output * inputs + input) * taps + tap] =
                                    weight[(input * outputs + output) * kernel + phase + (taps - 1 - tap) * rate]
                            }
                        }
                    }
                }
            }
            return try Convolution1D(phaseWeight, bias: bias, precision: precision)
        }
    }

    /// [inputs, groups + reach − 1] → [outputs, groups · rate]
    public func callAsFunction(_ x: Tensor) throws -> Tensor {
        let groups = max(0, x.columns - (reach - 1))
        guard groups > 0 else { return try Tensor(zeros: [outputs, 0]) }
        let input = x.detached
        let y = try Tensor(signal: outputs, columns: groups * rate) { y, stride in
            for (phase, convolution) in phases.enumerated() {
                let values = try convolution(input.columns(inputColumns(of: convolution, groups: groups)))
                values.withMatrix { lk_spread(y + phase, stride, rate, $0, $1, outputs, groups) }
            }
        }
        guard x.isTracked || weightNode != nil || biasNode != nil else { return y }
        return y.recorded(.transposedConvolution(TransposedConvolutionRecord(convolution: self, x: x)))
    }

    /// Input columns that a phase needs for `groups` groups of output columns.
    func inputColumns(of phase: Convolution1D, groups: Int) -> Range<Int> {
        let first = reach - phase.kernel
        return first..<first + groups + phase.span
    }
}

// MARK: - Signals

extension Tensor {
    /// Makes a signal [channels, history.columns + columns] that begins with `history`; `fill` writes the rest.
    fileprivate init(
        signal channels: Int, columns: Int, after history: Tensor? = nil,
        fill: (_ first: UnsafeMutablePointer<Float>, _ stride: Int) throws -> Void
    ) throws {
        let kept = history?.columns ?? 0
        guard history.map({ $0.rows == channels }) ?? true else {
            throw LyraError(.argument, "\(channels) channels cannot follow a signal \(history?.shape ?? [])")
        }
        let stride = Tensor.signalStride(kept + columns)
        try self.init(rows: channels, columns: kept + columns, rowStride: stride) { base in
            try history?.copyRows(to: base, rowStride: stride)
            try fill(base + kept, stride)
        }
    }

    /// Makes two such signals at once, with the same number of new columns, each after a history of its own.
    fileprivate static func pair(
        signals channels: Int, columns: Int, after first: Tensor, _ second: Tensor,
        fill: (_ first: Convolution1D.Target, _ second: Convolution1D.Target) throws -> Void
    ) throws -> (Tensor, Tensor) {
        guard second.rows == channels else {
            throw LyraError(.argument, "\(channels) channels cannot follow a signal \(second.shape)")
        }
        let stride = signalStride(second.columns + columns)
        let storage = try FloatStorage(count: FloatStorage.count(of: [channels, stride]))
        try second.copyRows(to: storage.base, rowStride: stride)
        let made = try Tensor(signal: channels, columns: columns, after: first) { y, yStride in
            try fill(
                Convolution1D.Target(y: y, stride: yStride),
                Convolution1D.Target(y: storage.base + second.columns, stride: stride))
        }
        let shape = [channels, second.columns + columns]
        return (made, Tensor(shape, storage: storage, offset: 0, rowStride: stride))
    }

    /// Row stride of a signal with this many columns: an odd number of cache lines, so that rows do not compete for the
    /// same cache sets.
    private static func signalStride(_ columns: Int) -> Int { (columns + 31) / 32 * 32 + 16 }

    /// Prepends another signal: [channels, history.columns + columns]
    public func after(_ history: Tensor) throws -> Tensor {
        let result = try Tensor(signal: rows, columns: columns, after: history) { try copyRows(to: $0, rowStride: $1) }
        guard isTracked || history.isTracked else { return result }
        return result.recorded(.joiningColumns([Operand(history), Operand(self)]))
    }

    /// Prepends another signal if there is one.
    fileprivate func after(_ history: Tensor?) throws -> Tensor { try history.map { try after($0) } ?? self }

    /// Each operand gets its columns of the gradient.
    static func propagateJoiningColumns(_ gradient: Tensor, _ operands: [Operand]) throws {
        var column = 0
        for operand in operands {
            try operand.node?.add(gradient.columns(column..<column + operand.columns))
            column += operand.columns
        }
    }

    /// leakyReLU of this signal, after `history`.
    public func leakyRelu(slope: Float, after history: Tensor) throws -> Tensor {
        if isTracked || history.isTracked { return try leakyRelu(slope: slope).after(history) }
        return try Tensor(signal: rows, columns: columns, after: history) { base, stride in
            try copyRows(to: base, rowStride: stride)
            for row in 0..<rows { lk_leaky_relu(base + row * stride, columns, slope) }
        }
    }

    /// leakyReLU of the mean of `signals`, after `history`.
    ///
    /// - Parameter signals: at least one, all with the same channels and columns
    public static func leakyReluOfMean(_ signals: [Tensor], slope: Float, after history: Tensor) throws -> Tensor {
        guard let first = signals.first, signals.allSatisfy({ $0.shape == first.shape }) else {
            throw LyraError(.argument, "signals of shapes \(signals.map(\.shape)) cannot be averaged")
        }
        if history.isTracked || signals.contains(where: \.isTracked) {
            let sum = try signals.dropFirst().reduce(first) { try $0.adding($1) }
            return try sum.scaled(by: 1 / Float(signals.count)).leakyRelu(slope: slope).after(history)
        }
        let (rows, columns) = (first.rows, first.columns)
        return try Tensor(signal: rows, columns: columns, after: history) { base, stride in
            try first.copyRows(to: base, rowStride: stride)
            for row in 0..<rows {
                let sum = base + row * stride
                for signal in signals.dropFirst() { signal.withMatrix { lk_add(sum, $0 + row * $1, columns) } }
                lk_scale(sum, columns, 1 / Float(signals.count))
                lk_leaky_relu(sum, columns, slope)
            }
        }
    }

    /// The signal with columns of zeros appended.
    public func padded(columns zeros: Int) throws -> Tensor {
        zeros == 0 ? self : try Tensor(zeros: [rows, zeros]).after(self)
    }

    /// A copy of the columns from `first` on, which does not keep the whole signal in memory. No columns if there are
    /// fewer.
    public func copy(columnsFrom first: Int) throws -> Tensor {
        let last = columns(min(first, columns)..<columns)
        return try Tensor([rows, last.columns]) { try last.copyRows(to: $0, rowStride: last.columns) }
            .withNode(last.node)
    }
}

// MARK: - Convolutions as products

extension Tensor {
    /// im2col for a 1-D convolution: the rows under the kernel side by side, channel by channel, with zero padding.
    /// [rows, channels] → [rows / stride rounded up, channels · kernel]
    public func unfoldedRows(kernel: Int, stride: Int) throws -> Tensor {
        guard kernel > 0, stride > 0 else {
            throw LyraError(.argument, "rows cannot be unfolded with a kernel of \(kernel) and a stride of \(stride)")
        }
        let (channels, count) = (columns, rows), padding = kernel / 2
        let made = count / stride + (count % stride == 0 ? 0 : 1)
        let result = try Tensor([made, channels.saturatingMultiplying(by: kernel)]) { out in
            try withMatrix { values, rowStride in
                for row in 0..<made {
                    if row % 64 == 0 { try Interruption.check() }
                    let target = out + row * channels * kernel
                    for tap in 0..<kernel {
                        let from = row * stride + tap - padding
                        for channel in 0..<channels {
                            target[channel * kernel + tap] =
                                from >= 0 && from < count ? values[from * rowStride + channel] : 0
                        }
                    }
                }
            }
        }
        guard let node else { return result }
        return result.recorded(.unfoldingRows(of: node, kernel: kernel, stride: stride))
    }

    /// Every row gets the sum of the gradients of its copies.
    static func propagateUnfoldingRows(_ gradient: Tensor, _ x: GradientNode, kernel: Int, stride: Int) throws {
        let (channels, count) = (x.columns, x.rows), padding = kernel / 2
        try x.accumulate { sum in
            gradient.withMatrix { values, rowStride in
                for row in 0..<gradient.rows {
                    for tap in 0..<kernel {
                        let from = row * stride + tap - padding
                        guard from >= 0, from < count else { continue }
                        let source = values + row * rowStride + tap
                        for channel in 0..<channels { sum[from * channels + channel] += source[channel * kernel] }
                    }
                }
            }
        }
    }

    /// im2col for a 2-D convolution: the `kernel` × `kernel` squares of [images, height, width] at every `stride`-th
    /// position, row by row. → [images · positions, kernel²]
    public func unfoldedSquares(kernel: Int, stride step: Int) throws -> Tensor {
        guard shape.count == 3, kernel > 0, step > 0, shape[1] >= kernel, shape[2] >= kernel else {
            throw LyraError(.argument, "images of shape \(shape) have no squares of \(kernel) × \(kernel)")
        }
        let (images, height, width) = (shape[0], shape[1], shape[2])
        // At most height · width.
        let positions = ((height - kernel) / step + 1) * ((width - kernel) / step + 1)
        let whole = try contiguous()
        let result = try Tensor([images * positions, kernel.saturatingMultiplying(by: kernel)]) { out in
            var target = out
            try whole.withMatrix { values, _ in
                for image in 0..<images {
                    try Interruption.check()
                    for top in stride(from: 0, through: height - kernel, by: step) {
                        for left in stride(from: 0, through: width - kernel, by: step) {
                            for row in 0..<kernel {
                                let source = values + (image * height + top + row) * width + left
                                target.update(from: source, count: kernel)
                                target += kernel
                            }
                        }
                    }
                }
            }
        }
        guard let node else { return result }
        return result.recorded(.unfoldingSquares(of: node, kernel: kernel, stride: step))
    }

    /// Every pixel gets the sum of the gradients of its copies.
    static func propagateUnfoldingSquares(
        _ gradient: Tensor, _ x: GradientNode, kernel: Int, stride step: Int
    ) throws {
        let (images, height, width) = (x.shape[0], x.shape[1], x.shape[2])
        try x.accumulate { sum in
            try gradient.withValues { values in
                var source = values
                for image in 0..<images {
                    for top in stride(from: 0, through: height - kernel, by: step) {
                        for left in stride(from: 0, through: width - kernel, by: step) {
                            for row in 0..<kernel {
                                let target = sum + (image * height + top + row) * width + left
                                for column in 0..<kernel { target[column] += source[column] }
                                source += kernel
                            }
                        }
                    }
                }
            }
        }
    }

    /// Undoes weight normalisation (arXiv 1602.07868): every row v becomes gain · v / |v|.
    ///
    /// - Parameters:
    ///   - gains: one for each row
    ///   - name: the tensor's name, for messages
    /// - Throws: `LyraError.format` if a row is zero or not finite, `.argument` for another number of gains.
    public consuming func foldingWeightNorm(gains: Tensor, name: String) throws -> Tensor {
        var weight = self
        let (rows, columns) = (weight.rows, weight.columns)
        // Only a gradient needs the vectors; without one their memory is reused.
        let vectors = weight.isTracked || gains.isTracked ? weight : nil
        guard gains.count == rows else { throw LyraError(.argument, "\(name): \(gains.count) gains for \(rows) rows") }
        try weight.withMutableValues { values in
            for row in 0..<rows {
                let vector = UnsafeMutableBufferPointer(start: values + row * columns, count: columns)
                let norm = vector.reduce(0.0) { $0 + Double($1) * Double($1) }.squareRoot()
                guard norm > 0, norm.isFinite else {
                    throw LyraError(.format, "\(name): row \(row) is zero or not finite")
                }
                let factor = gains[row] / Float(norm)
                for index in vector.indices { vector[index] *= factor }
            }
        }
        guard let vectors else { return weight }
        return weight.recorded(.weightNorm(vectors, gains: gains))
    }

    /// w = g · u with u = v / |v|: dg = u · dw, dv = g / |v| · (dw − u · (u · dw)), for each row. self: v
    func propagateWeightNorm(_ dw: Tensor, gains: Tensor) throws {
        let (rows, columns) = (rows, columns)
        var dgains: [Float] = []
        let dv = try Tensor([rows, columns]) { dv in
            try withValues { v in
                try dw.withValues { dw in
                    for row in 0..<rows {
                        let (v, dw, dv) = (v + row * columns, dw + row * columns, dv + row * columns)
                        var (squares, product) = (0.0, 0.0)
                        for i in 0..<columns {
                            squares += Double(v[i]) * Double(v[i])
                            product += Double(v[i]) * Double(dw[i])
                        }
                        let factor = Float(Double(gains[row]) / squares.squareRoot()), share = Float(product / squares)
                        for i in 0..<columns { dv[i] = factor * (dw[i] - v[i] * share) }
                        dgains.append(Float(product / squares.squareRoot()))
                    }
                }
            }
        }
        try node?.add(dv)
        try gains.node?.add(Tensor([rows], dgains))
    }
}
