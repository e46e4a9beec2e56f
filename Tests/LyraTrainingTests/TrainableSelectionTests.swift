import LyraBase
import LyraModel
import TestSupport
import Testing

@testable import LyraTraining

/// Fixture a has 8 layers, tied embeddings, adapters 0 (long_speech) and 1 (speech) with projectors of their own.
@Suite struct TrainableSelectionTests {
    private func names(_ names: [String], adapter: String? = nil) throws -> [String] {
        try TrainedModel(names, adapter: adapter).trainables.elements.map { "\($0.part) \($0.name)" }
    }

    @Test func partsAreTheirParameters() throws {
        let projector = ["linear1.weight", "linear1.bias", "linear2.weight", "linear2.bias"]
        #expect(try names(["projector"]) == projector.map { "main model.mm_speech_projector." + $0 })
        // An adapter's own projector takes the place of the base's.
        #expect(try names(["projector"], adapter: "speech") == projector.map { "adapterProjector(1) " + $0 })
        #expect(try names(["embeddings"]) == ["main model.embed_tokens.weight"])
        let adapter = try names(["adapter"], adapter: "long_speech")
        #expect(adapter.count == 8 * 7 * 2 && adapter.allSatisfy { $0.hasPrefix("adapter(0) ") })
        // Embeddings, 12 tensors in each layer, and the final norm; the output head is tied.
        let language = try names(["language_model"])
        #expect(language.count == 2 + 8 * 12 && language.allSatisfy { $0.hasPrefix("main model.") })
        let generator = try names(["speech_generator"])
        #expect(generator.count == 4 + 2 * 12 && generator.allSatisfy { $0.hasPrefix("main speech_generator.") })
        #expect(try names(["speech_tower"]).allSatisfy { $0.hasPrefix("speechTower ") })
        #expect(try names(["vision_tower"]).allSatisfy { $0.hasPrefix("visionTower ") })
        let all = try names(["all"], adapter: "speech")
        let parts = ["language_model", "projector", "speech_tower", "vision_tower", "adapter"]
        #expect(Set(all) == Set(try parts.flatMap { try names([$0], adapter: "speech") }))
    }

    @Test func patternsMatchPublishedNames() throws {
        #expect(
            try names(["model.layers.3.self_attn.*.bias"])
                == ["q", "k", "v"].map { "main model.layers.3.self_attn.\($0)_proj.bias" })
        #expect(try names(["model.speech_tower.*.conv1.bias"]) == ["speechTower conv1.bias"])
        #expect(
            try names(["model.mm_speech_projector.linear2.*", "*.7.mlp.up_proj.lora_A.weight"], adapter: "speech")
                == [
                    "adapter(1) base_model.model.model.layers.7.mlp.up_proj.lora_A.weight",
                    "adapterProjector(1) linear2.weight", "adapterProjector(1) linear2.bias",
                ])
    }

    @Test(arguments: [
        ("a*c", "abc", true), ("a*c", "ac", true), ("a*c", "abcd", false), ("*b*d", "abcbcd", true), ("*", "", true),
        ("", "", true), ("", "a", false), ("a**", "a", true), ("*ab", "aab", true), ("a.c", "abc", false),
    ]) func starsStandForAnyCharacters(_ pattern: String, _ text: String, _ wanted: Bool) {
        #expect(TrainableSelection.glob(pattern, text) == wanted)
    }

    @Test func theFirstGroupThatHasAParameterIsItsOwn() throws {
        let model = try TrainedModel(
            ["adapter", "projector"], adapter: "speech", groups: [["projector"], ["*.lora_B.weight", "*.linear1.*"]])
        let groups = Dictionary(grouping: model.trainables.elements) { model.selection.group(of: $0) }
        #expect(groups.mapValues(\.count) == [0: 56, 1: 4, 2: 56])
        #expect(groups[1]?.allSatisfy { $0.part == .adapterProjector(1) } == true)
        #expect(groups[2]?.allSatisfy { $0.name.hasSuffix(".lora_B.weight") } == true)
    }

    @Test func namesOfNothingAreRefused() throws {
        for (chosen, adapter, groups, reasons) in [
            (["projectors"], nil, [], ["projectors", "speech_generator", "model.layers.*.mlp.up_proj.weight"]),
            (["model.layers.8.*"], nil, [], ["model.layers.8.*", "model.embed_tokens.weight"]),
            (["adapter"], nil, [], ["\"adapter\" should be trained, but the run has no adapter (adapter.name)"]),
            (
                ["vocoder"], nil, [],
                ["only objective vocoder trains the vocoder; the parts that can be trained here are projector, sp"]
            ),
            (["projector", "adapter"], "swedish", [], ["\"swedish\"", "\"long_speech\", \"speech\""]),
            (["projector"], nil, [["embeddings"]], ["group", "embeddings"]),
            ([], nil, [], ["nothing to train", "language_model"]),
        ] as [([String], String?, [[String]], [String])] {
            let error = #expect(throws: LyraError.self) { try TrainedModel(chosen, adapter: adapter, groups: groups) }
            for reason in reasons { #expect(error?.message.contains(reason) == true, "\(error?.message ?? "")") }
        }
    }
}
