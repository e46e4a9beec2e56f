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
}
