import Foundation
import LyraFormats
import Testing

@testable import LyraTraining

/// How runs that train an adapter end.
@Suite(.timeLimit(.minutes(5))) struct AdapterRunTests {
    /// At the end, hours later, its files may be gone.
    @Test func theAdapterToStartFromIsReadOnce() throws {
        let adapter = try AdapterRun()
        let (run, _, error) = adapter.run(adapter.recipe("run", steps: 1)) { _ in
            try FileManager.default.removeItem(atPath: adapter.files.path("run/states/fresh_adapter"))
            return .proceed
        }
        #expect(error == nil)
        let path = try #require(run.result)
        let config = try String(contentsOfFile: path + "/adapter_config.json", encoding: .utf8)
        #expect(config.contains(#""r": \#(AdapterRun.rank)"#), "\(config)")
    }

    /// The first of two updates has a learning rate of 0, and so both have an adapter whose B is 0 and whose A has no
    /// gradient.
    @Test func aShortRunNamesOnlyWhatTheExamplesLack() throws {
        let adapter = try AdapterRun()
        var recipe = adapter.recipe("both", steps: 2)
        let both = adapter.run(recipe)
        #expect(both.error == nil && both.notes.count == 1, "\(both.notes)")
        #expect(both.notes.first?.contains("trained tensors, such as \"projector.") == true, "\(both.notes)")
        (recipe.trained, recipe.output) = (["adapter"], adapter.files.path("adapter"))
        let alone = adapter.run(recipe)
        #expect(alone.error == nil && alone.notes.isEmpty, "\(alone.notes)")
        let state = try Safetensors(path: adapter.files.path("adapter/states/step-000000002.safetensors"))
        let first = state.tensors.values.filter { $0.name.hasPrefix("first.") && $0.name.hasSuffix("lora_A.weight") }
        #expect(try !first.isEmpty && first.allSatisfy { try $0.values().values.allSatisfy { $0 == 0 } })
    }

    // MARK: Runs that diverge

    /// The values of the trained tensors in a file: in a state after `parameter.`, in an adapter after PEFT's prefix.
    private func values(_ path: String, after prefix: String) throws -> [String: [Float]] {
        let tensors = try Safetensors(path: path).tensors.values.filter { $0.name.hasPrefix(prefix) }
        #expect(tensors.count == 2 * 7 * 2, "A and B of seven matrices in two layers")
        return Dictionary(
            uniqueKeysWithValues: try tensors.map { stored in
                // Both have the layer and the matrix: 0.self_attn.q_proj.lora_A.weight.
                (stored.name.components(separatedBy: "layers.").last ?? "", try stored.values().values)
            })
    }

    private func result(_ run: TrainingRun) throws -> [String: [Float]] {
        try values(#require(run.result) + "/adapter_model.safetensors", after: "base_model.")
    }

    @Test func aRunThatDivergesWritesItsBestParameters() throws {
        let adapter = try AdapterRun()
        var recipe = try adapter.diverging("run")
        recipe.validation.writesBest = true
        let end = adapter.run(recipe)
        #expect(end.error == nil, "\(end.error ?? "")")
        #expect(end.notes.last?.contains("the gradients of 3 updates in a row, 4 to 6, are not finite") == true)
        let words = "the parameters after update 3, which have the least validation loss"
        #expect(end.notes.last?.hasSuffix("The result has " + words) == true, "\(end.notes)")
        let best = try values(recipe.output + "/best.safetensors", after: "parameter.")
        #expect(try result(end.run) == best)
        // Not before its end: updates are missing, and a program that waits for the run must notice.
        try FileManager.default.removeItem(atPath: #require(end.run.result))
        recipe.optimizer.failureLimit = 2
        let early = adapter.run(recipe)
        #expect(early.error?.contains("it has written \(words) to \(early.run.result ?? "-")") == true)
        #expect(try result(early.run) == best && best.values.joined().allSatisfy { abs($0) < 1 })
    }

    /// The error names what the same command can do, and it does that.
    @Test func aRunThatDivergesCanEndAtASavedState() throws {
        let adapter = try AdapterRun()
        let recipe = try adapter.diverging("run")
        let error = try #require(adapter.run(recipe).error)
        // The parameters of update 3 are those with which no gradient is finite.
        #expect(error.contains("No result is written; the same command writes one with batch.steps = 2 (--steps 2)"))
        #expect(error.hasSuffix("or with validation.write_best = true, which writes the parameters after update 3"))
        var short = recipe
        short.batch.steps = 2
        let state = try values(adapter.state(recipe, 2), after: "parameter.")
        for _ in 0..<2 {
            let end = adapter.run(short)
            #expect(end.error == nil && end.notes.first == "continuing after update 2 of 2", "\(end)")
            #expect(try result(end.run) == state)
        }
        // The longer run is there still. No other number of updates is that of a state.
        #expect(adapter.run(recipe).error == error)
        short.batch.steps = 1
        #expect(adapter.run(short).error?.contains("batch.steps is 1, was 6") == true)
    }
}
