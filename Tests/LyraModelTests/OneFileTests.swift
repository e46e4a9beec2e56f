import Foundation
import LyraFormats
import LyraTensor
import TestSupport
import Testing

@testable import LyraModel
@testable import LyraTools

/// Models that are converted to one GGUF file, and opened from it.
@Suite struct OneFileTests {
    private static func model(_ golden: Golden) -> String { Golden.path(golden.name) + "/lyra" }

    private func answer(_ checkpoint: Checkpoint, _ golden: Golden, _ turn: String, adapter: String?) throws -> Greedy {
        let values = try golden.values(turn)
        return try Greedy(
            checkpoint.decoder, values.tensor("in.embeddings"), values.positions(),
            next: Int32(values.integers("out.next_position")[0]),
            adapter: adapter.map { try #require(checkpoint.adapterIndex($0)) }, stop: [2050, 2048])
    }

    /// The fixtures' matrices are BF16, so nothing is rounded: answers are bit-identical.
    @Test(arguments: Golden.both, [Recipe.bf16, .f32])
    func aLosslessFileComputesTheDirectorysNumbers(_ golden: Golden, _ recipe: Recipe) throws {
        let file = try OneFile(Self.model(golden), recipe), checkpoint = try file.open()
        #expect(checkpoint.adapters == golden.checkpoint.adapters)
        for (turn, adapter) in [("turn_text", nil), ("turn_speech", "speech"), ("turn_image_text", nil)] {
            let got = try answer(checkpoint, golden, turn, adapter: adapter)
            let want = try answer(golden.checkpoint, golden, turn, adapter: adapter)
            #expect(got.ids == (try golden.values(turn).integers("out.ids")))
            #expect(recipe == .f32 || got.firstLogits == want.firstLogits)
            #expect(difference(got.firstLogits, want.firstLogits) < Golden.tolerance)
        }
    }

    /// Every part is present, and none comes from the converted directory.
    @Test(arguments: Golden.both) func aFileHoldsEveryPart(_ golden: Golden) throws {
        var notes: [String] = []
        var options = CheckpointOptions()
        options.note = { notes.append($0) }
        let file = try OneFile(Self.model(golden), .bf16), checkpoint = try file.open(options)
        #expect(checkpoint.speechNetworks.isPresent && checkpoint.visionNetworks.isPresent)
        #expect(checkpoint.soundNetworks.isPresent && checkpoint.vocoder.isPresent && checkpoint.generator != nil)
        #expect(notes == [])
        #expect(checkpoint.inventory.allSatisfy { $0.source == file.path })
        let parameters = { (parts: [Checkpoint.PartSize]) in parts.reduce(0) { $0 + $1.parameters } }
        #expect(parameters(checkpoint.inventory) == parameters(golden.checkpoint.inventory))
        #expect(checkpoint.generationDefaults.endTokens == golden.checkpoint.generationDefaults.endTokens)
        let text = "<|im_start|>user\nWas ist das, 你好?<|im_end|>"
        #expect(try checkpoint.tokenizer.encode(text) == golden.checkpoint.tokenizer.encode(text))
    }

    @Test(arguments: Golden.both) func namesAreShortUniqueAndReversible(_ golden: Golden) throws {
        let loader = try CheckpointLoader(Self.model(golden), CheckpointOptions())
        _ = try loader.load()
        var stored: Set<String> = []
        for (part, tensors) in loader.contents.tensors {
            for loaded in tensors.keys.sorted() {
                guard let name = OneFileNames.stored(part, loaded) else {
                    #expect(loaded.hasPrefix("model.speech_tower.") || loaded.hasPrefix("model.vision_tower."))
                    continue
                }
                #expect(name.utf8.count <= 63)
                if part != .main || !loaded.contains("mm_audio_projector") {
                    #expect(stored.insert(name).inserted, "\(name)")
                }
                let back = OneFileNames.loaded(part, name)
                if case .adapterProjector = part {
                    #expect(back == "mm_speech_projector." + loaded)
                } else {
                    #expect(back == loaded)
                }
            }
        }
        #expect(stored.count > 300)
    }

    /// The longest names of the published sizes, with two digits for layers and adapters.
    @Test func publishedNamesFit() {
        for (part, name) in [
            (ModelPart.adapter(11), "base_model.model.model.layers.79.self_attn.o_proj.lora_B.weight"),
            (.main, "model.layers.79.post_attention_layernorm.weight"),
            (.main, "speech_generator.layers.1.post_attention_layernorm.weight"),
            (.speechTower, "layers.31.self_attn_layer_norm.weight"), (.visionTower, "blocks.31.attn.qkv.weight"),
            (.soundTower, "modality_preprocessors.audio.pos_embedding_helper.pos_embed"),
            (.soundTower, "modality_preprocessors.audio.rgbt_stem.norm_layer.weight"),
            (.soundTower, "modality_postprocessors.audio.1.log_logit_scale"),
            (.vocoder, "resblocks.11.convs2.2.weight_v"), (.adapterProjector(11), "linear2.weight"),
        ] {
            #expect((OneFileNames.stored(part, name)?.utf8.count ?? 99) <= 63, "\(name)")
        }
    }

    // MARK: Quantized models

    /// The sharp attention of the fixtures' random weights amplifies every rounding: llama.cpp's first logits for the
    /// same question change by 3 % of their range with Q8_0, and by 15 % with Q4_0.
    @Test(arguments: Golden.both, [(Recipe.q8_0, Float(0.08)), (.q4_0, 0.22), (.q4_k_m, 0.08)])
    func logitsOfQuantizedModelsStayClose(_ golden: Golden, _ bound: (recipe: Recipe, share: Float)) throws {
        let checkpoint = try OneFile(Self.model(golden), bound.recipe).open()
        for (turn, adapter) in [("turn_text", nil), ("turn_speech", "speech"), ("turn_image_text", nil)] {
            let want = try golden.values(turn).floats("out.first_logits")
            let got = try answer(checkpoint, golden, turn, adapter: adapter).firstLogits
            let share = rootMeanSquareOfRange(got, want)
            #expect(share > 0 && share < bound.share, "\(golden.name) \(turn) \(bound.recipe.name): \(share)")
        }
    }

    /// The name of a layer has one spelling, so that two names never mean the same tensor.
    @Test func numbersOfLayersHaveOneSpelling() {
        #expect(OneFileNames.loaded(.main, "blk.3.attn_q.weight") == "model.layers.3.self_attn.q_proj.weight")
        for name in ["blk.03.attn_q.weight", "blk.+3.attn_q.weight", "blk.-0.attn_q.weight"] {
            #expect(OneFileNames.loaded(.main, name) == nil, "\(name)")
        }
        for number in ["03", "+3", "-0"] {
            #expect(OneFileNames.stored(.main, "model.layers.\(number).self_attn.q_proj.weight") == nil)
        }
    }

    /// The fixtures' rows are too short for quantization blocks of 256; this model's are not.
    @Test func quantizationBlocksOf256AreUsedAndStayClose() throws {
        var preset = ModelPreset.tiny
        preset.language = DecoderConfiguration(
            hiddenSize: 256, layers: 2, heads: 4, kvHeads: 2, intermediateSize: 512, vocabularySize: 512,
            mropeSections: [8, 12, 12], tiesEmbeddings: true)
        preset.vision = VisionConfiguration(width: 32, layers: 2, heads: 2, outputWidth: 256)
        let folder = try OneFile()
        let directory = folder.folder + "/made"
        try CheckpointWriter(directory: directory, preset: preset, seed: 5).write()
        let plain = try Checkpoint.open(directory)
        func logits(_ checkpoint: Checkpoint) throws -> [Float] {
            let decoder = checkpoint.decoder, ids = (0..<40).map { Int32($0 * 7) }
            let caches = decoder.makeCaches()
            var prefill = try Prefill(
                decoder, embeddings: decoder.embed(ids), positions: ids.indices.map { Position(Int32($0)) })
            while !prefill.isDone { try prefill.step(decoder, caches: caches, adapter: nil) }
            return try decoder.logits(prefill.lastRows(decoder)).values
        }
        let want = try logits(plain)
        // Two layers amplify little, but uniform weights suit four bits less than trained ones. Attention in BF16,
        // which is used with quantized weights, adds to the error.
        for (recipe, exact, fast) in [
            (Recipe.q8_0, Float(0.01), Float(0.015)), (.q4_k_m, 0.08, 0.08), (.q4_0, 0.12, 0.12),
        ] {
            let file = try OneFile(directory, recipe)
            for (precision, most) in [(Precision.exact, exact), (.fast, fast)] {
                var options = CheckpointOptions()
                options.precision = precision
                let share = rootMeanSquareOfRange(try logits(file.open(options)), want)
                #expect(share > 0 && share < most, "\(recipe.name), \(precision): \(share)")
                // Tiles round every weight and what it multiplies to BF16.
                let onTiles = try onTiles { rootMeanSquareOfRange(try logits(file.open(options)), want) }
                #expect(onTiles > 0 && onTiles < most, "\(recipe.name), \(precision), tiles: \(onTiles)")
            }
            if recipe == .q4_k_m {
                let types = Set(try GGUFFile(path: file.path).tensors.values.map(\.type))
                #expect(types.isSuperset(of: [.q4_k, .q6_k, .q8_0, .float32]))
            }
        }
        _ = folder
    }

    /// Quantizing recipes store the vocoder's convolutions in Q8_0: durations equal the reference's, and the waveform
    /// is within Q8_0's error of a weight, 0.5 %.
    @Test(arguments: ["a", "b"], VocoderFixture.caseNames)
    func aQuantizedVocoderSoundsTheSame(_ model: String, _ name: String) throws {
        let fixture = try VocoderFixture(model)
        var options = CheckpointOptions()
        options.precision = .exact
        let file = try OneFile(Golden.path(model) + "/lyra", .q8_0)
        #expect(try GGUFFile(path: file.path).tensor("vocoder.ups.1.weight_v")?.type == .q8_0)
        let vocoder = try file.open(options).vocoder.get()
        let (samples, frames) = try vocoder.speak(fixture.units(name))
        #expect(frames == (try fixture.frames(name)))
        #expect(samples.distance(to: try fixture.waveform(name)) < 5e-3)
    }

    @Test func aFileCanBeQuantizedAgain() throws {
        let wide = try OneFile(Self.model(.a), .bf16)
        let twice = try OneFile(wide.path, .q8_0), once = try OneFile(Self.model(.a), .q8_0)
        let (got, want) = (try GGUFFile(path: twice.path), try GGUFFile(path: once.path))
        #expect(got.names.sorted() == want.names.sorted())
        for name in want.names {
            #expect(got.tensor(name)?.type == want.tensor(name)?.type, "\(name)")
            #expect(
                got.tensor(name)?.bytes.elementsEqual(want.tensor(name)?.bytes ?? .init(start: nil, count: 0)) == true)
        }
        for (key, value) in want.metadata where key != "general.name" { #expect(got.metadata[key] == value, "\(key)") }
    }

    // MARK: The language model alone

    @Test(arguments: Golden.both) func theLanguageModelAloneRunsOnText(_ golden: Golden) throws {
        let checkpoint = try OneFile(Self.model(golden), .bf16, scope: .language).open()
        let want = try answer(golden.checkpoint, golden, "turn_text", adapter: nil)
        #expect(try answer(checkpoint, golden, "turn_text", adapter: nil).firstLogits == want.firstLogits)
        for text in ["<|im_start|>user\nHello, 世界 — déjà vu!<|im_end|>", "  two  spaces\n\n"] {
            #expect(try checkpoint.tokenizer.encode(text) == golden.checkpoint.tokenizer.encode(text))
        }
        for id in Int32(0)..<Int32(golden.checkpoint.tokenizer.vocabularySize) {
            #expect(checkpoint.tokenizer.bytes(of: id) == golden.checkpoint.tokenizer.bytes(of: id))
            #expect(checkpoint.tokenizer.isSpecial(id) == golden.checkpoint.tokenizer.isSpecial(id))
        }
        expect(.missing, "takes no speech", "language model alone") { _ = try checkpoint.speechNetworks.get() }
        expect(.missing, "generates no speech") { _ = try checkpoint.vocoder.get() }
    }

    /// The file has no other part, so converting the whole model gives the same file.
    @Test func aLanguageModelAloneIsConvertedToItself() throws {
        let language = try OneFile(Self.model(.b), .bf16, scope: .language)
        let again = try OneFile(language.path, .bf16)
        #expect(try GGUFFile(path: again.path).keys == GGUFFile(path: language.path).keys)
        let want = try answer(language.open(), .b, "turn_text", adapter: nil).firstLogits
        #expect(try answer(again.open(), .b, "turn_text", adapter: nil).firstLogits == want)
    }

    /// The keys and shapes that llama.cpp's loader requires for the architecture qwen2vl.
    @Test func theMetadataFitLlamaCpp() throws {
        let one = try OneFile(Self.model(.b), .bf16, scope: .language), file = try GGUFFile(path: one.path)
        #expect(try file.string("general.architecture") == "qwen2vl")
        for (key, value) in [
            ("block_count", 6), ("context_length", 32768), ("embedding_length", 96), ("attention.head_count", 6),
            ("attention.head_count_kv", 3),
        ] { #expect(try file.int("qwen2vl." + key) == value) }
        #expect(file.metadata["qwen2vl.rope.dimension_sections"]?.ints?.count == 4)
        #expect(try file.double("qwen2vl.rope.freq_base") == 1e6)
        #expect(try file.strings("tokenizer.ggml.tokens")?.count == 2062)
        #expect(file.tensor("token_embd.weight")?.shape == [2062, 96])
        #expect(file.tensor("output.weight")?.shape == [2062, 96])
        #expect(file.tensor("blk.5.attn_k.bias")?.type == .float32)
        #expect(file.names.count == 3 + 6 * 12)
        let tied = try OneFile(Self.model(.a), .bf16, scope: .language), padded = try GGUFFile(path: tied.path)
        #expect(padded.tensor("output.weight") == nil)
        #expect(padded.metadata["tokenizer.ggml.tokens"].map { "\($0)".contains("[PAD2067]") } == true)
        #expect(try padded.ints("tokenizer.ggml.token_type")?.suffix(7) == [3, 5, 5, 5, 5, 5, 5])
    }
}
