import LyraFormats
import LyraTensor

/// A convolution with a bias, and its parameters as the checkpoint stores them. The parameters stay in the mapped file,
/// because the packed convolution does not determine them exactly.
struct ConvolutionLayer<Convolution: Sendable>: Parameterized, Sendable {
    let convolution: Convolution
    private let stored: [(name: String, tensor: StoredTensor)]

    /// `weight`, or `weight_g` and `weight_v` if the checkpoint kept weight normalisation; then `bias`.
    var parameters: [Parameter] { stored.map { Parameter($0.name, $0.tensor) } }
}

extension ConvolutionLayer<Convolution1D> {
    /// Reads `name`.weight (or weight_g and weight_v) [outputs, inputs, kernel] and `name`.bias.
    ///
    /// - Parameter precision: nil for the source's precision
    init(
        _ source: any WeightSource, _ name: String, inputs: Int, outputs: Int, kernel: Int, dilation: Int = 1,
        precision: Precision? = nil
    ) throws {
        let read = try ConvolutionTensors(source, name, [outputs, inputs, kernel], outputs: outputs)
        convolution = try Convolution1D(
            read.weight, bias: read.bias, dilation: dilation, precision: precision ?? source.precision)
        stored = read.stored
    }
}

extension ConvolutionLayer<TransposedConvolution1D> {
    /// Reads `name`.weight (or weight_g and weight_v) [inputs, outputs, kernel] and `name`.bias.
    init(_ source: any WeightSource, _ name: String, inputs: Int, outputs: Int, kernel: Int, rate: Int) throws {
        let read = try ConvolutionTensors(source, name, [inputs, outputs, kernel], outputs: outputs)
        convolution = try TransposedConvolution1D(
            read.weight, bias: read.bias, rate: rate, precision: source.precision)
        stored = read.stored
    }
}

/// The tensors of one convolution: as stored, and as floats with weight normalisation folded in.
private struct ConvolutionTensors {
    let weight: Tensor
    let bias: Tensor
    let stored: [(name: String, tensor: StoredTensor)]

    /// Reads `name`.weight, or gain · v / |v| if the checkpoint kept weight normalisation (arXiv 1602.07868). The norm
    /// covers all axes except the first.
    init(_ source: any WeightSource, _ name: String, _ shape: [Int], outputs: Int) throws {
        var all: [(name: String, tensor: StoredTensor)] = []
        func read(_ tensor: String, _ shape: [Int]) throws -> Tensor {
            let stored = try source.unscaled("\(name).\(tensor)", shape)
            let values = try stored.values()
            // The values are a copy, so the file's pages need not stay resident.
            stored.dropResidentPages()
            all.append((tensor, stored))
            return values
        }
        if source.contains(name + ".weight") {
            weight = try read("weight", shape)
        } else {
            let gains = try read("weight_g", [shape.first ?? 1] + shape.dropFirst().map { _ in 1 })
            weight = try read("weight_v", shape)
                .foldingWeightNorm(gains: gains, name: "\(source.origin): \(name).weight_v")
        }
        bias = try read("bias", [outputs])
        stored = all
    }
}
