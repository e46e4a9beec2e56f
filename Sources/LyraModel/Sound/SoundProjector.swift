import LyraBase
import LyraTensor

/// Projects each vector of the sound tower to one token: `linear`, or `mlpNx_gelu` (a Linear, then GELU and another
/// Linear, repeated).
public struct SoundProjector: Sendable {
    private let layers: [Linear]
    /// Prefix of each layer's tensors: none for a single layer, or "0.", "2.", …
    private let names: [String]

    /// - Parameters:
    ///   - source: table with `weight` and `bias`, or `0.weight`, `0.bias`, `2.weight`, …
    ///   - inputs: width of the sound tower's vectors
    ///   - outputs: width of the language model
    init(_ source: TensorTable, inputs: Int, outputs: Int) throws {
        let numbered = (0..<64).lazy.map { "\(2 * $0)." }.prefix { source.contains($0 + "weight") }
        let names = source.contains("weight") ? [""] : Array(numbered)
        guard !names.isEmpty else {
            throw LyraError(.missing, "\(source.origin): there is no tensor weight or 0.weight of a sound projector")
        }
        var layers: [Linear] = []
        for name in names {
            let width = name == names.last ? outputs : source.shape(of: name + "weight")?.first ?? 0
            layers.append(
                try Linear(source, prefix: name, [width, layers.last?.outputs ?? inputs], bias: true))
        }
        (self.layers, self.names) = (layers, names)
    }

    /// [clips, inputs] → [clips, hidden]
    func callAsFunction(_ vectors: Tensor) throws -> Tensor {
        var x = vectors
        for (index, layer) in layers.enumerated() {
            x = try index + 1 < layers.count ? layer(x, activation: .gelu) : layer(x)
        }
        return x
    }
}

extension SoundProjector: Parameterized {
    public var parameters: [Parameter] {
        zip(names, layers).flatMap { name, layer in
            name.isEmpty ? layer.parameters : layer.parameters(under: String(name.dropLast()))
        }
    }
}
