import Foundation
import LyraBase
import LyraFormats
import LyraTensor
import LyraTools
import TestSupport
import Testing

@testable import LyraModel

/// A merged checkpoint computes without an adapter what the checkpoint computes with it.
@Suite struct AdapterMergerTests {
    private static let prefix = "base_model.model."

    private static func merge(
        _ model: String, _ adapter: String, in scratch: TemporaryDirectory, type: ElementType? = .float32,
        zoo: String? = nil
    ) throws -> Checkpoint {
        var options = CheckpointOptions()
        options.towers = zoo.map { Golden.path($0 + "/model_zoo") }
        let path = scratch.path + "/merged"
        _ = try AdapterMerger(path: model, options: options, adapter: adapter).write(to: path, type: type)
        return try Checkpoint.open(path)
    }

    /// The published adapters of both fixtures, with their projectors; and a file converted from the result.
    @Test(arguments: Golden.both, ["speech", "long_speech"])
    func thePublishedAdapters(_ golden: Golden, _ name: String) throws {
        let scratch = try TemporaryDirectory()
        let merged = try Self.merge(Golden.path(golden.name + "/lyra"), name, in: scratch, zoo: golden.name)
        #expect(merged.adapters == [])
        let own = golden.checkpoint, index = try #require(own.adapterIndex(name))
        let wanted = try AdapterCheckpoint.logits(own, adapter: index)
        #expect(difference(try AdapterCheckpoint.logits(merged, adapter: nil), wanted) < Golden.tolerance)
        #expect(difference(try AdapterCheckpoint.logits(own, adapter: nil), wanted) > 0.01, "the adapter has an effect")
        let encoded = try golden.encode(golden.shortRecording)
        let tokens = try own.speechNetworks.get().project(encoded, adapter: index).values
        // Weights of two types are multiplied in pieces of other sizes.
        #expect(difference(try merged.speechNetworks.get().project(encoded, adapter: nil).values, tokens) < 1e-6)
        let file = try OneFile(scratch.path + "/merged", .f32)
        let converted = try file.open()
        #expect(difference(try AdapterCheckpoint.logits(converted, adapter: nil), wanted) < Golden.tolerance)
        #expect(difference(try converted.speechNetworks.get().project(encoded, adapter: nil).values, tokens) < 1e-6)
    }

    /// rslora, patterns, whole modules and pickles.
    @Test(arguments: [
        "", "\"use_rslora\": true", "\"rank_pattern\": {\"down_proj\": 2}, \"alpha_pattern\": {\"q_proj\": 10}",
        "\"modules_to_save\": [\"embed_tokens\", \"lm_head\", \"model.norm\", \"layers.2.input_layernorm\"]",
    ])
    func everyFormThatIsRead(_ keys: String) throws {
        let down = keys.contains("rank_pattern") ? 2 : 4
        var tensors = FloatTensors(
            [
                ("layers.0.self_attn.q_proj.lora_A.weight", [4, 96]),
                ("layers.0.self_attn.q_proj.lora_B.weight", [96, 4]),
                ("layers.4.mlp.down_proj.lora_A.weight", [down, 160]),
                ("layers.4.mlp.down_proj.lora_B.weight", [96, down]),
            ], seed: 21
        ).renamed { Self.prefix + "model." + $0 }
        if keys.contains("modules_to_save") {
            let whole = FloatTensors(
                [
                    ("model.embed_tokens.weight", [2062, 96]), ("lm_head.weight", [2062, 96]),
                    ("model.norm.weight", [96]), ("model.layers.2.input_layernorm.weight", [96]),
                ], around: 0.5, seed: 22)
            tensors = tensors.replacing(with: whole.renamed { Self.prefix + $0 })
        }
        for pickled in [false, true] {
            let scratch = try TemporaryDirectory(), checkpoint = try AdapterCheckpoint("b")
            try checkpoint.add(tensors, rank: 4, alpha: 6, keys: keys, pickled: pickled)
            let merged = try Self.merge(checkpoint.copy.model, "test", in: scratch, zoo: "b")
            let wanted = try checkpoint.logits(adapter: 0)
            #expect(difference(try AdapterCheckpoint.logits(merged, adapter: nil), wanted) < Golden.tolerance)
            #expect(difference(try checkpoint.logits(adapter: nil), wanted) > 0.01, "the adapter has an effect")
        }
    }

    /// A head that the adapter separates from the embeddings is untied; one that follows them stays tied.
    @Test(arguments: [
        (["embed_tokens"], false, false), (["embed_tokens"], true, true), (["lm_head"], false, false),
        (["embed_tokens", "lm_head"], true, false), (["norm"], false, true),
    ])
    func aTiedHead(_ modules: [String], _ follows: Bool, _ staysTied: Bool) throws {
        let shapes: [(String, [Int])] = modules.flatMap { module -> [(String, [Int])] in
            switch module {
            case "embed_tokens": [("model.embed_tokens.weight", [2068, 64])]
            case "lm_head": [("lm_head.weight", [2068, 64])]
            default:
                [("model.norm.weight", [64])]
                    + (0..<8).flatMap { layer in
                        ["input", "post_attention"].map { ("model.layers.\(layer).\($0)_layernorm.weight", [64]) }
                    }
            }
        }
        let scratch = try TemporaryDirectory(), checkpoint = try AdapterCheckpoint("a")
        try checkpoint.add(
            FloatTensors(shapes, around: 0.2, seed: 23).renamed { Self.prefix + $0 }, rank: 4, alpha: 6,
            keys: "\"modules_to_save\": [\(modules.map { "\"\($0)\"" }.joined(separator: ", "))], "
                + "\"ensure_weight_tying\": \(follows)")
        let merged = try Self.merge(checkpoint.copy.model, "test", in: scratch, zoo: "a")
        #expect(merged.configuration.language.tiesEmbeddings == staysTied)
        let wanted = try checkpoint.logits(adapter: 0)
        #expect(difference(try AdapterCheckpoint.logits(merged, adapter: nil), wanted) < Golden.tolerance)
    }

    /// Each merged matrix against the sum in double precision, in the type that it had.
    @Test func mergedMatricesHaveTheTypeOfTheBase() throws {
        let scratch = try TemporaryDirectory(), model = Golden.path("a/lyra")
        _ = try Self.merge(model, "speech", in: scratch, type: nil, zoo: "a")
        let base = try ShardedSafetensors(directory: model).tensors
        let own = try Safetensors(path: model + "/speech_lora/adapter_model.safetensors").tensors
        let made = try ShardedSafetensors(directory: scratch.path + "/merged").tensors
        #expect(Set(made.keys) == Set(base.keys))
        for module in ["model.layers.0.self_attn.v_proj", "model.layers.7.mlp.gate_proj"] {
            let old = try #require(base[module + ".weight"]), new = try #require(made[module + ".weight"])
            let a = try #require(own[Self.prefix + module + ".lora_A.weight"]).floats()
            let b = try #require(own[Self.prefix + module + ".lora_B.weight"]).floats()
            let wanted = folded((old.shape, try old.floats()), a, b, rank: 8, scale: 2)
            #expect(new.type == old.type && old.type == .bfloat16)
            for (got, wanted) in zip(try new.floats(), wanted) {
                // BF16 has 8 bits: at most 2⁻⁸ of the number, with the sum in F32.
                #expect(abs(got - wanted) <= abs(wanted) * 0x1p-8)
            }
        }
    }

    @Test func aPlainQwen2VLInBothLayouts() throws {
        for layout in ["published", "newer"] {
            let scratch = try TemporaryDirectory(), model = Golden.path("qwen2vl/" + layout)
            var settings = AdapterSettings(rank: 3, alpha: 7)
            settings.targetModules = ["o_proj"]
            let shapes = [("A", [3, 64]), ("B", [64, 3])].map {
                ("model.layers.1.self_attn.o_proj.lora_\($0).weight", $1)
            }
            let tensors = try FloatTensors(shapes, seed: 24).map {
                NewTensor(Self.prefix + $0.key, try Tensor($0.value.shape, $0.value.values))
            }
            try AdapterWriter(directory: scratch.path + "/adapter", settings: settings).write(tensors)
            var options = CheckpointOptions()
            options.adapterDirectories = [("new", scratch.path + "/adapter")]
            let wanted = try AdapterCheckpoint.logits(Checkpoint.open(model, options: options), adapter: 0)
            let merger = try AdapterMerger(path: model, options: options, adapter: "new")
            _ = try merger.write(to: scratch.path + "/merged", type: .float32)
            let merged = try Checkpoint.open(scratch.path + "/merged")
            #expect(difference(try AdapterCheckpoint.logits(merged, adapter: nil), wanted) < Golden.tolerance)
            #expect(merged.visionNetworks.isPresent)
            // The names stay those of the layout.
            let names = { try ShardedSafetensors(directory: $0).names }
            #expect(try names(scratch.path + "/merged") == names(model))
        }
    }

    @Test func whatCannotBeMergedIsRefusedByName() throws {
        let file = try OneFile(Golden.path("b/lyra"), .q8_0)
        expect(.unsupported, file.path, "one-file model") { _ = try AdapterMerger(path: file.path, adapter: "speech") }
        expect(.argument, "swedish", "long_speech") {
            _ = try AdapterMerger(path: Golden.path("b/lyra"), adapter: "swedish")
        }
        expect(.argument, "none") { _ = try AdapterMerger(path: Golden.path("qwen2vl/newer"), adapter: "speech") }
    }

    @Test func whatIsLeftOutIsSaid() throws {
        let scratch = try TemporaryDirectory()
        var notes: [String] = []
        let merger = try AdapterMerger(path: Golden.path("a/lyra"), adapter: "speech", note: { notes.append($0) })
        _ = try merger.write(to: scratch.path + "/merged")
        #expect(notes.count == 1 && notes.allSatisfy { $0.contains("long_speech") })
    }
}
