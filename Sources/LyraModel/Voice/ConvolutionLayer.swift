import LyraFormats
import LyraTensor

/// A convolution with a bias, and its parameters as the checkpoint stores them. The parameters stay in the mapped file,
/// because the packed convolution does not determine them exactly.
struct ConvolutionLayer<Convolution: Sendable>: Parameterized, Sendable {
    let convolution: Convolution
    /// `weight`, or `weight_g` and `weight_v` if the checkpoint kept weight normalisation; then `bias`.
    let parameters: [Parameter]
    /// Packs the present values of the parameters; nil if training changes none of them.
    private let pack: (@Sendable () throws -> Convolution)?

    fileprivate init(
        _ tensors: ConvolutionTensors,
        _ make: @escaping @Sendable (_ weight: Tensor, _ bias: Tensor) throws -> Convolution
    ) throws {
        convolution = try make(tensors.folded(), tensors.bias)
        parameters = tensors.parameters
        if tensors.isTrained {
            pack = { @Sendable () throws -> Convolution in try make(tensors.folded(), tensors.bias) }
        } else {
            pack = nil
        }
    }

    private init(_ convolution: Convolution, like other: Self) {
        (self.convolution, parameters, pack) = (convolution, other.parameters, other.pack)
    }

    /// The layer with the present values of its trained parameters.
    func current() throws -> Self {
        guard let pack else { return self }
        return Self(try pack(), like: self)
    }
}

extension ConvolutionLayer<Convolution1D> {
    /// Reads `name`.weight (or weight_g and weight_v) [outputs, inputs, kernel] and `name`.bias.
    ///
    /// - Parameter precision: nil for the source's precision
    init(
        _ source: any WeightSource, _ name: String, inputs: Int, outputs: Int, kernel: Int, dilation: Int = 1,
        precision: Precision? = nil
    ) throws {
        let precision = precision ?? source.precision
        try self.init(ConvolutionTensors(source, name, [outputs, inputs, kernel], outputs: outputs)) {
            try Convolution1D($0, bias: $1, dilation: dilation, precision: precision)
        }
    }
}

extension ConvolutionLayer<TransposedConvolution1D> {
    /// Reads `name`.weight (or weight_g and weight_v) [inputs, outputs, kernel] and `name`.bias.
    init(_ source: any WeightSource, _ name: String, inputs: Int, outputs: Int, kernel: Int, rate: Int) throws {
        let precision = source.precision
        try self.init(ConvolutionTensors(source, name, [inputs, outputs, kernel], outputs: outputs)) {
            try TransposedConvolution1D($0, bias: $1, rate: rate, precision: precision)
        }
    }
}

/// The tensors of one convolution, as floats.
private struct ConvolutionTensors: Sendable {
    /// The weight, or the vectors v of a weight w = gain · v / |v|.
    private let weight: Tensor
    private let gains: Tensor?
    let bias: Tensor
    let parameters: [Parameter]
    /// The weight's name, for messages.
    private let name: String

    /// Reads `name`.weight, or gain and v if the checkpoint kept weight normalisation (arXiv 1602.07868). The norm
    /// covers all axes except the first.
    init(_ source: any WeightSource, _ name: String, _ shape: [Int], outputs: Int) throws {
        var all: [Parameter] = []
        func read(_ tensor: String, _ shape: [Int]) throws -> Tensor {
            if let trained = try source.trained("\(name).\(tensor)", shape) {
                all.append(Parameter(tensor, trained))
                return trained
            }
            let stored = try source.unscaled("\(name).\(tensor)", shape)
            let values = try stored.values()
            // The values are a copy, so the file's pages need not stay resident.
            stored.dropResidentPages()
            all.append(Parameter(tensor, stored))
            return values
        }
        if source.contains(name + ".weight") {
            (weight, gains) = (try read("weight", shape), nil)
        } else {
            gains = try read("weight_g", [shape.first ?? 1] + shape.dropFirst().map { _ in 1 })
            weight = try read("weight_v", shape)
        }
        bias = try read("bias", [outputs])
        parameters = all
        self.name = "\(source.origin): \(name).weight_v"
    }

    var isTrained: Bool { weight.isTracked || bias.isTracked || gains?.isTracked ?? false }

    /// The weight, with weight normalisation folded in.
    func folded() throws -> Tensor {
        guard let gains else { return weight }
        return try weight.foldingWeightNorm(gains: gains, name: name)
    }
}
