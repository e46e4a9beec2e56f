import LyraBase
import LyraFormats
import LyraTensor

/// The heads of a run that trains a tower: fresh, or those of another run.
struct RunHeads {
    let heads: [LabelHead]
    let weights: [String: Double]

    /// - Parameter width: of the tower's output
    /// - Throws: `LyraError` that names the file and the tensor, if the recipe starts from heads that do not fit.
    init(_ recipe: TrainingRecipe, width: Int) throws {
        heads = try recipe.heads.enumerated().map { index, head in
            var random = SplitMix64(seed: recipe.seed, for: .head, index)
            let kind: LabelHead.Kind = head.kind == .rows ? .rows : .sequence
            return try LabelHead(head.name, kind, labels: head.labels, width: width, random: &random)
        }
        weights = Dictionary(recipe.heads.map { ($0.name, $0.weight) }) { first, _ in first }
        if let path = recipe.headsStart { try restore(Safetensors(path: path)) }
    }

    private func restore(_ file: Safetensors) throws {
        for parameter in heads.flatMap(\.parameters) {
            guard let stored = file.tensor(parameter.name) else {
                throw LyraError(
                    .format,
                    "\(file.file.path): there is no tensor \(shown(parameter.name)); it must have the heads that the "
                        + "recipe names")
            }
            guard stored.shape == parameter.shape else {
                throw LyraError(
                    .format,
                    "\(file.file.path): \(shown(parameter.name)) is \(stored.shape); the recipe's head and the tower "
                        + "need \(parameter.shape)")
            }
            try stored.values().withValues { values in
                parameter.withValues { $0.update(from: values, count: parameter.count) }
            }
        }
    }

    /// Writes the heads, F32, as heads.NAME.weight and heads.NAME.bias.
    ///
    /// - Throws: `LyraError.io` if the file cannot be written; no unfinished file remains.
    func write(to path: String) throws {
        let parameters = heads.flatMap(\.parameters)
        let specs = parameters.map { TensorSpec(name: $0.name, type: .float32, shape: $0.shape) }
        let writer = try SafetensorsWriter(path: path, tensors: specs)
        for parameter in parameters {
            try parameter.withValues {
                try writer.write(parameter.name, UnsafeRawBufferPointer(start: $0, count: parameter.count * 4))
            }
        }
        try writer.finish()
    }
}
