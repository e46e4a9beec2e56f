import CKernels
import LyraBase
import LyraTensor

/// A 1-D convolution with bias, packed for the kernels.
struct VocoderConvolution: Sendable {
    let inputs: Int
    let outputs: Int
    let kernel: Int
    let dilation: Int
    private let packed: FloatStorage
    private let bias: Tensor
    private let precision: Precision

    /// Columns beyond the first that an output column reads.
    var span: Int { (kernel - 1) * dilation }
    /// Zero columns at either end of a signal that keep its length.
    var padding: Int { span / 2 }

    /// - Parameters:
    ///   - weight: [outputs, inputs, kernel]
    ///   - bias: [outputs]
    ///   - precision: if fast, the signal and the weights are rounded to BF16
    init(
        _ weight: Tensor, bias: Tensor, inputs: Int, outputs: Int, kernel: Int, dilation: Int = 1,
        precision: Precision = .exact
    ) throws {
        self.inputs = inputs
        self.outputs = outputs
        self.kernel = kernel
        self.dilation = dilation
        self.bias = bias
        self.precision = precision
        switch precision {
        case .exact:
            packed = try FloatStorage(count: lk_conv1d_packed_count(inputs, outputs, kernel))
            weight.withValues { lk_conv1d_pack(packed.base, $0, inputs, outputs, kernel) }
        case .fast:
            packed = try FloatStorage(count: lk_conv1d_pairs_count(inputs, outputs, kernel))
            weight.withValues { lk_conv1d_pack_pairs(packed.base, $0, inputs, outputs, kernel) }
        }
    }

    /// Reads `name`.weight (or its weight-normed parts) [outputs, inputs, kernel] and `name`.bias.
    ///
    /// - Parameter precision: nil for the source's
    init(
        _ source: any WeightSource, _ name: String, inputs: Int, outputs: Int, kernel: Int, dilation: Int = 1,
        precision: Precision? = nil
    ) throws {
        try self.init(
            source.foldedWeight(name, [outputs, inputs, kernel]), bias: source.floats(name + ".bias", [outputs]),
            inputs: inputs, outputs: outputs, kernel: kernel, dilation: dilation,
            precision: precision ?? source.precision)
    }

    /// Convolves `columns` output columns from `x`, which holds `columns + span`.
    ///
    /// - Parameter output: where the values go; its rows are not those of `x`.
    func callAsFunction(_ x: UnsafePointer<Float>, stride: Int, columns: Int, into output: lk_conv1d_output) throws {
        guard columns > 0 else { return }
        let status = withUnsafePointer(to: output) { output in
            bias.withValues { bias in
                switch precision {
                case .exact:
                    lk_conv1d_into(output, x, stride, columns, packed.base, bias, inputs, outputs, kernel, dilation)
                case .fast:
                    lk_conv1d_pairs_into(
                        output, x, stride, columns, packed.base, bias, inputs, outputs, kernel, dilation)
                }
            }
        }
        withExtendedLifetime(packed) {}
        try Interruption.check()
        guard status == LK_OK else { throw LyraError(.memory, "no memory for a convolution") }
    }
}

/// A transposed 1-D convolution of stride `rate`: one ordinary convolution for each of the `rate` phases.
///
/// Column t of the input adds its `kernel` taps to columns t · rate … of the output, whose first and last `padding`
/// columns are then cut. So group q of `rate` output columns needs the input columns up to q only: the last `reach`.
struct VocoderUpsampling: Sendable {
    let rate: Int
    let kernel: Int
    let inputs: Int
    let outputs: Int
    private let phases: [VocoderConvolution]

    /// Input columns that one group of output columns reads.
    var reach: Int { (kernel + rate - 1) / rate }
    /// Output columns cut at either end.
    var padding: Int { (kernel - rate) / 2 }

    /// Reads `name`.weight [inputs, outputs, kernel] and `name`.bias.
    init(_ source: any WeightSource, _ name: String, inputs: Int, outputs: Int, kernel: Int, rate: Int) throws {
        self.rate = rate
        self.kernel = kernel
        self.inputs = inputs
        self.outputs = outputs
        let weight = try source.foldedWeight(name, [inputs, outputs, kernel])
        let bias = try source.floats(name + ".bias", [outputs])
        phases = try (0..<rate).map { phase in
            let taps = (kernel - phase + rate - 1) / rate
            let part = try Tensor([outputs, inputs, taps]) { part in
                weight.withValues { weight in
                    for output in 0..<outputs {
                        for input in 0..<inputs {
                            for tap in 0..<taps {
                                part[(output * inputs + input) * taps + tap] =
                                    weight[(input * outputs + output) * kernel + phase + (taps - 1 - tap) * rate]
                            }
                        }
                    }
                }
            }
            return try VocoderConvolution(
                part, bias: bias, inputs: inputs, outputs: outputs, kernel: taps, precision: source.precision)
        }
    }

    /// Makes `groups` groups of `rate` columns from `x`, which holds `groups + reach - 1`.
    ///
    /// - Parameter scratch: [outputs, groups] with `scratchStride` between rows.
    func callAsFunction(
        _ x: UnsafePointer<Float>, stride: Int, groups: Int, into y: UnsafeMutablePointer<Float>, yStride: Int,
        scratch: UnsafeMutablePointer<Float>, scratchStride: Int
    ) throws {
        for (phase, convolution) in phases.enumerated() {
            try convolution(
                x + (reach - convolution.kernel), stride: stride, columns: groups,
                into: lk_conv1d_output(y: scratch, stride: scratchStride))
            lk_spread(y + phase, yStride, rate, scratch, scratchStride, outputs, groups)
        }
    }
}

extension lk_conv1d_output {
    /// The values as they are.
    init(y: UnsafeMutablePointer<Float>, stride: Int) {
        self.init(add: nil, ld_add: 0, y: y, ldy: stride, activated: nil, ld_activated: 0, slope: 0)
    }

    /// Leaky ReLU of the values; slope 0 gives ReLU.
    init(activated: UnsafeMutablePointer<Float>, stride: Int, slope: Float) {
        self.init(add: nil, ld_add: 0, y: nil, ldy: 0, activated: activated, ld_activated: stride, slope: slope)
    }
}

extension WeightSource {
    /// `name`.weight, or weight_v · weight_g / |weight_v| where weight normalisation (arXiv 1602.07868) was left in the
    /// checkpoint; the norm is taken over all axes but the first.
    func foldedWeight(_ name: String, _ shape: [Int]) throws -> Tensor {
        if contains(name + ".weight") { return try floats(name + ".weight", shape) }
        var weight = try floats(name + ".weight_v", shape)
        let rows = shape.first ?? 1
        let gains = try floats(name + ".weight_g", [rows] + shape.dropFirst().map { _ in 1 })
        let columns = weight.columns
        try weight.withMutableValues { values in
            for row in 0..<rows {
                let part = UnsafeMutableBufferPointer(start: values + row * columns, count: columns)
                let norm = part.reduce(0.0) { $0 + Double($1) * Double($1) }.squareRoot()
                guard norm > 0, norm.isFinite else {
                    throw LyraError(.format, "\(origin): row \(row) of \(name).weight_v is zero or not finite")
                }
                let factor = gains.withValues { $0[row] } / Float(norm)
                for index in part.indices { part[index] *= factor }
            }
        }
        return weight
    }
}
