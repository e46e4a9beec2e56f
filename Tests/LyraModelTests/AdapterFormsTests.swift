import Foundation
import LyraBase
import LyraFormats
import LyraTools
import TestSupport
import Testing

@testable import LyraModel

/// The forms in which PEFT stores an adapter: each computes what the update folded into the weights computes.
@Suite struct AdapterFormsTests {
    private static let prefix = "base_model.model."
    /// Modules of fixture b that the tests update, with outputs and inputs.
    private static let modules: [(String, Int, Int)] = [
        ("model.layers.0.self_attn.q_proj", 96, 96), ("model.layers.0.mlp.down_proj", 96, 160),
        ("model.layers.3.self_attn.q_proj", 96, 96), ("model.layers.5.self_attn.v_proj", 48, 96),
    ]

    /// Random updates of `modules`.
    private static func updates(prefix: String = prefix, rank: (String) -> Int) -> FloatTensors {
        var shapes: [(String, [Int])] = []
        for (module, outputs, inputs) in modules {
            shapes.append((prefix + module + ".lora_A.weight", [rank(module), inputs]))
            shapes.append((prefix + module + ".lora_B.weight", [outputs, rank(module)]))
        }
        return FloatTensors(shapes, seed: 3)
    }

    /// The scores of fixture b with `updates` folded into its weights.
    private static func foldedLogits(
        _ updates: FloatTensors, rank: (String) -> Int, scale: (String) -> Double
    ) throws -> [Float] {
        let checkpoint = try AdapterCheckpoint("b")
        var tensors = try checkpoint.base()
        for (module, _, _) in modules {
            let weight = try #require(tensors[module + ".weight"])
            let a = try #require(updates[prefix + module + ".lora_A.weight"]).values
            let b = try #require(updates[prefix + module + ".lora_B.weight"]).values
            tensors[module + ".weight"]?.values = folded(weight, a, b, rank: rank(module), scale: scale(module))
        }
        try checkpoint.replace(tensors)
        return try checkpoint.logits(adapter: nil)
    }

    struct Form: CustomTestStringConvertible, Sendable {
        let testDescription: String
        let keys: String
        let rank: @Sendable (String) -> Int
        let scale: @Sendable (String) -> Double
    }

    /// rank 4 and alpha 6 but where `keys` say otherwise.
    private static let forms: [Form] = [
        Form(testDescription: "plain", keys: "", rank: { _ in 4 }, scale: { _ in 1.5 }),
        Form(testDescription: "rslora", keys: "\"use_rslora\": true", rank: { _ in 4 }, scale: { _ in 3 }),
        Form(
            testDescription: "rank_pattern",
            keys: "\"rank_pattern\": {\"q_proj\": 2, \"layers.5.self_attn.v_proj\": 3}",
            rank: { $0.hasSuffix("q_proj") ? 2 : $0.hasSuffix("v_proj") ? 3 : 4 },
            scale: { $0.hasSuffix("q_proj") ? 3 : $0.hasSuffix("v_proj") ? 2 : 1.5 }),
        Form(
            testDescription: "alpha_pattern", keys: "\"alpha_pattern\": {\"model.layers.3.self_attn.q_proj\": 10}",
            rank: { _ in 4 }, scale: { $0.contains("layers.3.") ? 2.5 : 1.5 }),
        Form(
            testDescription: "both patterns with rslora",
            keys: "\"use_rslora\": true, \"rank_pattern\": {\"down_proj\": 9}, "
                + "\"alpha_pattern\": {\"mlp.down_proj\": 12}",
            rank: { $0.hasSuffix("down_proj") ? 9 : 4 }, scale: { $0.hasSuffix("down_proj") ? 4 : 3 }),
    ]

    @Test(arguments: forms) func anAdapterComputesWhatItsFoldedUpdateComputes(_ form: Form) throws {
        let updates = Self.updates(rank: form.rank)
        let wanted = try Self.foldedLogits(updates, rank: form.rank, scale: form.scale)
        for pickled in [false, true] {
            let checkpoint = try AdapterCheckpoint("b")
            try checkpoint.add(updates, rank: 4, alpha: 6, keys: form.keys, pickled: pickled)
            let got = try checkpoint.logits(adapter: 0)
            #expect(difference(got, wanted) < Golden.tolerance)
            #expect(difference(try checkpoint.logits(adapter: nil), wanted) > 0.01, "the adapter has an effect")
        }
    }

    @Test func namesOfTransformersSince4_52AreTheSame() throws {
        let plain = try AdapterCheckpoint("b"), newer = try AdapterCheckpoint("b")
        let updates = Self.updates { _ in 4 }
        let renamed = updates.renamed {
            $0.replacingOccurrences(
                of: "base_model.model.model.", with: "base_model.model.model.language_model.")
        }
        // A pattern by the full name that the module had in training.
        func keys(_ name: String) -> String { "\"alpha_pattern\": {\"\(name).layers.3.self_attn.q_proj\": 10}" }
        try plain.add(updates, rank: 4, alpha: 6, keys: keys("model"))
        try newer.add(renamed, rank: 4, alpha: 6, keys: keys("model.language_model"))
        #expect(try newer.logits(adapter: 0) == plain.logits(adapter: 0))
    }

    // MARK: Whole modules

    /// Shapes of fixture b.
    private static let whole: [(String, [Int])] = [
        ("model.embed_tokens.weight", [2062, 96]), ("lm_head.weight", [2062, 96]), ("model.norm.weight", [96]),
        ("model.layers.2.input_layernorm.weight", [96]), ("model.layers.4.post_attention_layernorm.weight", [96]),
    ]

    @Test(arguments: [[0], [1], [2], [3, 4], [0, 1, 2, 3, 4]])
    func wholeModulesReplaceTheModelsOwn(_ which: [Int]) throws {
        let parts = which.map { Self.whole[$0] }
        let replacements = FloatTensors(parts, around: 0.5, seed: 4)
        let updates = Self.updates { _ in 4 }
        let adapted = try AdapterCheckpoint("b"), wanted = try AdapterCheckpoint("b")
        let names = parts.map { name, _ in "\"\(name.dropLast(".weight".count))\"" }.joined(separator: ", ")
        let stored = updates.replacing(with: replacements.renamed { Self.prefix + $0 })
        try adapted.add(stored, rank: 4, alpha: 6, keys: "\"modules_to_save\": [\(names)]")
        try wanted.add(updates, rank: 4, alpha: 6)
        try wanted.replace(wanted.base().replacing(with: replacements))
        let got = try adapted.logits(adapter: 0)
        #expect(difference(got, try wanted.logits(adapter: 0)) < Golden.tolerance)
        let without = try AdapterCheckpoint("b")
        #expect(try adapted.logits(adapter: nil) == without.logits(adapter: nil), "the model's own stay")
        let file = try OneFile(adapted.copy.model, .f32)
        #expect(difference(try AdapterCheckpoint.logits(file.open(), adapter: 0), got) < Golden.tolerance)
    }

    /// As PEFT saves and loads them: a replaced embedding leaves a tied head as it was, unless `ensure_weight_tying`.
    @Test(arguments: [false, true]) func aTiedHeadFollowsReplacedEmbeddingsOnlyIfItShould(_ follows: Bool) throws {
        let embeddings = FloatTensors([("model.embed_tokens.weight", [2068, 64])], seed: 5)
        let adapted = try AdapterCheckpoint("a"), wanted = try AdapterCheckpoint("a")
        try adapted.add(
            embeddings.renamed { Self.prefix + $0 }, rank: 4, alpha: 6,
            keys: "\"modules_to_save\": [\"embed_tokens\"], \"ensure_weight_tying\": \(follows)")
        var tensors = try wanted.base()
        let head = try #require(tensors["model.embed_tokens.weight"])
        tensors = tensors.replacing(with: embeddings)
        if !follows {
            tensors["lm_head.weight"] = head
            try wanted.copy.edit("lyra/config.json", "\"tie_word_embeddings\": true", "\"tie_word_embeddings\": false")
        }
        try wanted.replace(tensors)
        #expect(difference(try adapted.logits(adapter: 0), try wanted.logits(adapter: nil)) < Golden.tolerance)
    }

    @Test func aSpeechProjectorAmongTheAdaptersTensorsIsTheAdapters() throws {
        let golden = try CheckpointCopy("b")
        let wanted = try golden.open()
        let folder = golden.model + "/speech_lora"
        let projector = try TorchFile(path: folder + "/non_lora_trainables.bin").tensors()
        let adapter = try Safetensors(path: folder + "/adapter_model.safetensors").tensors
        var tensors: FloatTensors = [:]
        for (name, tensor) in adapter { tensors[name] = (tensor.shape, try tensor.floats()) }
        for (name, tensor) in projector {
            let module = try #require(name.split(separator: "mm_speech_projector.").last)
            tensors["base_model.model.model.mm_speech_projector." + module] = (tensor.shape, try tensor.floats())
        }
        try tensors.write(safetensors: folder + "/adapter_model.safetensors")
        try golden.edit(
            "lyra/speech_lora/adapter_config.json", "{", "{\"modules_to_save\": [\"mm_speech_projector\"],",
            first: true)
        expect(.format, "speech projector", "non_lora_trainables.bin", open: golden)
        try FileManager.default.removeItem(atPath: folder + "/non_lora_trainables.bin")
        let encoded = try Golden.b.encode(Golden.b.shortRecording)
        func tokens(_ checkpoint: Checkpoint) throws -> [Float] {
            let index = try #require(checkpoint.adapterIndex("speech"))
            return try checkpoint.speechNetworks.get().project(encoded, adapter: index).values
        }
        // Weights of two types are multiplied in pieces of other sizes.
        #expect(try difference(tokens(golden.open()), tokens(wanted)) < 1e-6)
        let file = try OneFile(golden.model, .f32)
        #expect(difference(try tokens(file.open()), try tokens(wanted)) < Golden.tolerance)
    }

    // MARK: Refusals

    @Test(arguments: [
        ("\"use_dora\": true", "DoRA"), ("\"bias\": \"all\"", "bias"),
        ("\"rank_pattern\": {\"layers.(0|3).self_attn.q_proj\": 2}", "layers.(0|3)"),
        ("\"alpha_pattern\": {\".*q_proj\": 2}", ".*q_proj"), ("\"alpha_pattern\": {\"q_proj\\\\d\": 2}", "q_proj"),
    ])
    func whatLyraDoesNotComputeIsRefusedByName(_ keys: String, _ name: String) throws {
        let checkpoint = try AdapterCheckpoint("b")
        try checkpoint.add(Self.updates { _ in 4 }, rank: 4, alpha: 6, keys: keys)
        expect(.unsupported, "test_lora/adapter_config.json", name, open: checkpoint.copy)
    }

    @Test(
        arguments: [
            ("model.layers.0.self_attn.q_proj.weight", "[\"q_proj\"]", .unsupported),
            ("score.weight", "[\"score\"]", .unsupported), ("lm_head.weight", "[]", .format),
            ("model.layers.0.self_attn.q_proj.lora_magnitude_vector.weight", "[]", .unsupported),
            ("model.layers.9.self_attn.q_proj.lora_A.weight", "[]", .format),
        ] as [(String, String, LyraError.Code)])
    func aTensorWithoutAPlaceIsNamed(_ name: String, _ whole: String, _ code: LyraError.Code) throws {
        let checkpoint = try AdapterCheckpoint("b")
        let extra = FloatTensors([(Self.prefix + name, [2062, 96])], seed: 6)
        try checkpoint.add(
            Self.updates { _ in 4 }.replacing(with: extra), rank: 4, alpha: 6,
            keys: "\"modules_to_save\": \(whole)")
        expect(code, "test_lora", name, open: checkpoint.copy)
    }

    @Test func aWholeModuleThatIsNotThereIsNamed() throws {
        for (module, name) in [("lm_head", "lm_head.weight"), ("mm_speech_projector", "speech projector")] {
            let checkpoint = try AdapterCheckpoint("b")
            try checkpoint.add(
                Self.updates { _ in 4 }, rank: 4, alpha: 6, keys: "\"modules_to_save\": [\"\(module)\"]")
            expect(.missing, "test_lora", name, "modules_to_save", open: checkpoint.copy)
        }
    }

    @Test func aRankThatTheTensorsDoNotHaveIsRefused() throws {
        let checkpoint = try AdapterCheckpoint("b")
        try checkpoint.add(Self.updates { _ in 4 }, rank: 4, alpha: 6, keys: "\"rank_pattern\": {\"v_proj\": 3}")
        expect(.format, "v_proj.lora_A.weight", "[4, 96]", "[3, 96]", open: checkpoint.copy)
        let none = try AdapterCheckpoint("b")
        try none.add(Self.updates { _ in 4 }, rank: 4, alpha: 6, keys: "\"rank_pattern\": {\"v_proj\": 1.5}")
        expect(.format, "rank_pattern", "1.5", open: none.copy)
    }

    // MARK: Patterns

    /// What `next(key for key in keys if re.match(rf"(.*\.)?({key})$", name))` gives in Python 3.11.
    @Test(
        arguments: [
            ("{\"q_proj\": 1, \"model.layers.0.self_attn.q_proj\": 2}", "model.layers.0.self_attn.q_proj", 1.0),
            ("{\"model.layers.0.self_attn.q_proj\": 2, \"q_proj\": 1}", "model.layers.0.self_attn.q_proj", 2),
            ("{\"q_pro\": 1, \"_proj\": 2, \"attn.q_proj\": 3}", "model.layers.0.self_attn.q_proj", nil),
            ("{\"self_attn.q_proj\": 1}", "model.layers.0.self_attn.q_proj", 1),
            ("{\"self_attn\\\\.q_proj\": 1}", "model.layers.0.self_attn.q_proj", 1),
            ("{\"self.attn.q.proj\": 1}", "model.layers.0.self_attn.q_proj", 1),
            ("{\"self\\\\.attn.q_proj\": 1}", "model.layers.0.self_attn.q_proj", nil),
            ("{\"layers.1.self_attn.q_proj\": 1}", "model.layers.11.self_attn.q_proj", nil),
            ("{\"^q_proj\": 1, \"^model.layers.0.self_attn.q_proj$\": 2}", "model.layers.0.self_attn.q_proj", 2),
            ("{\"\": 1, \"v_proj\": 2}", "model.layers.0.self_attn.q_proj", nil),
        ] as [(String, String, Double?)])
    func patternsMatchAsPEFTMatches(_ json: String, _ module: String, _ wanted: Double?) throws {
        let bytes = Array(json.utf8)
        let pattern = try bytes.withUnsafeBytes { try JSONText.decode(ModulePattern.self, from: $0, source: "test") }
        #expect(pattern.unsupportedKey == nil)
        #expect(pattern.value(of: [module]) == wanted)
    }
}
