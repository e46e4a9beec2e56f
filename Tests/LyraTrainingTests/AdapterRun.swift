import LyraBase
import LyraFormats
import LyraModel

@testable import LyraTraining

/// A small checkpoint of random weights without adapters, and two written conversations for an adapter that runs begin.
/// Removed with the last reference.
final class AdapterRun {
    static let rank = 4
    let files: MediaFiles
    private let model: String
    private let data: String

    init() throws {
        let part = try PartRun()
        (files, model) = (part.files, part.model)
        let lines = ["Yes.", "It is late."].map { answer in
            #"{"conversations": [{"from": "human", "value": "Well?"}, {"from": "gpt", "value": "\#(answer)"}]}"#
        }
        data = try files.write(lines.joined(separator: "\n"), to: "written.jsonl")
    }

    /// Stage 2 on both conversations at once, one thread; the first of its updates has a learning rate of 0.
    func recipe(_ output: String, steps: Int) -> TrainingRecipe {
        var recipe = TrainingRecipe(stage: .instructions)
        (recipe.model, recipe.data, recipe.output) = (model, [data], files.path(output))
        (recipe.adapter.name, recipe.adapter.rank, recipe.adapter.dropout) = ("fresh", Self.rank, 0)
        (recipe.batch.size, recipe.batch.steps, recipe.threads, recipe.loss.regularizer) = (2, steps, 1, 0)
        return recipe
    }

    /// Stops a run of three of six updates, each of which is validated and saved, and makes its last state one from
    /// which it diverges: every parameter is 10³⁰, whose square is infinite.
    func diverging(_ output: String) throws -> TrainingRecipe {
        var recipe = recipe(output, steps: 6)
        recipe.trained = ["adapter"]
        (recipe.optimizer.learningRate, recipe.saving.kept) = (1e-2, 2)
        (recipe.validation.data, recipe.validation.every) = (recipe.data, 1)
        _ = try TrainingRun(recipe).run { $0.step == 3 ? .stop : .save }
        let path = state(recipe, 3), file = try Safetensors(path: path), metadata = try file.metadata()
        let tensors = try file.tensors.values.sorted { $0.name < $1.name }.map { stored in
            let values = try stored.values().values
            return (stored.name, stored.shape, stored.name.hasPrefix("parameter.") ? values.map { _ in 1e30 } : values)
        }
        let specs = tensors.map { TensorSpec(name: $0.0, type: .float32, shape: $0.1) }
        let writer = try SafetensorsWriter(path: path, tensors: specs, metadata: metadata)
        for (name, _, values) in tensors { try values.withUnsafeBytes { try writer.write(name, $0) } }
        try writer.finish()
        return recipe
    }

    func state(_ recipe: TrainingRecipe, _ step: Int) -> String {
        RunDirectory(recipe.output, kept: 1).state(step)
    }

    /// Runs the recipe to its end, or to its error. → the notes, and the error's message
    func run(
        _ recipe: TrainingRecipe, _ onProgress: (TrainingProgress) throws -> TrainingDecision = { _ in .proceed }
    ) -> (run: TrainingRun, notes: [String], error: String?) {
        let run = TrainingRun(recipe)
        var notes: [String] = []
        run.note = { notes.append($0) }
        do {
            _ = try run.run(onProgress: onProgress)
            return (run, notes, nil)
        } catch {
            return (run, notes, (error as? LyraError)?.message ?? "\(error)")
        }
    }
}
