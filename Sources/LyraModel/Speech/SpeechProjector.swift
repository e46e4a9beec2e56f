import LyraTensor

/// Projects encoder positions to tokens (`simple_mlp`): concatenates k positions, then Linear, ReLU, Linear. A
/// remainder of fewer than k positions is discarded. With `speech_norm` each token is scaled to length 1.
public struct SpeechProjector: Sendable {
    /// Width of the hidden layer in every published checkpoint.
    package static let publishedInner = 2048

    private let linear1: Linear
    private let linear2: Linear
    private let group: Int
    private let normalizes: Bool

    /// - Parameters:
    ///   - source: holds `linear1` and `linear2`
    ///   - width: width of the encoder
    package init(_ source: any WeightSource, width: Int, configuration: LyraConfiguration) throws {
        group = configuration.speechDownsampling
        normalizes = configuration.normalizesSpeech
        let inner = configuration.speechProjectorInner
        linear1 = try Linear(source, "linear1", inner, width * group, bias: true)
        linear2 = try Linear(source, "linear2", configuration.language.hiddenSize, inner, bias: true)
    }

    /// [positions, width] → [positions / k, hidden]
    func callAsFunction(_ encoded: Tensor) throws -> Tensor {
        let tokens = encoded.rows / group
        let grouped = try encoded.rows(0..<tokens * group).reshaped([tokens, group * encoded.columns])
        let projected = try linear2(linear1(grouped).relu())
        return normalizes ? try projected.unitRows() : projected
    }
}

extension SpeechProjector: Parameterized {
    public var parameters: [Parameter] { linear1.parameters(under: "linear1") + linear2.parameters(under: "linear2") }
}
