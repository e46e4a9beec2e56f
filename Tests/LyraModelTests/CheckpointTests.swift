import Foundation
import LyraBase
import LyraFormats
import LyraTools
import TestSupport
import Testing

@testable import LyraModel

/// Opening checkpoints that are complete, lack parts, or are damaged.
@Suite struct CheckpointTests {
    @Test func towersAreFoundBesideTheCheckpointAndInTheGivenDirectory() throws {
        let alone = try CheckpointCopy("b", zoo: false)
        for towers in [Golden.path("b") + "/model_zoo", Golden.path("b"), Golden.path("b") + "/model_zoo/audio"] {
            var options = CheckpointOptions()
            options.towers = towers
            let checkpoint = try alone.open(options)
            #expect(checkpoint.speechNetworks.isPresent && checkpoint.vocoder.isPresent, "\(towers)")
            #expect(checkpoint.soundNetworks.isPresent, "\(towers)")
            #expect(checkpoint.visionNetworks.isPresent == !towers.hasSuffix("audio"), "\(towers)")
        }
        #expect(try CheckpointCopy("b").open().speechNetworks.isPresent)
    }

    /// Every tensor of every file is listed once, with the shape that it has there: of the decoder, adapters,
    /// projectors, towers, generator and vocoder. `a` has its speech tower inside.
    @Test(arguments: ["a", "b", "tiny"]) func parametersAreListedUnderTheNamesOfTheCheckpoint(_ name: String) throws {
        let folder = NSTemporaryDirectory() + "lyra-parameters-\(UUID().uuidString)"
        defer { try? FileManager.default.removeItem(atPath: folder) }
        if name == "tiny" { try CheckpointWriter(directory: folder, preset: .tiny, seed: 5).write() }
        let path = name == "tiny" ? folder : Golden.path(name) + "/lyra"
        let loader = try CheckpointLoader(path, CheckpointOptions())
        let listed = try loader.load().parameters
        var files = Dictionary(uniqueKeysWithValues: loader.contents.tensors.map { ($0.part, $0.tensors) })
        // What lies inside the main part belongs to a part of its own.
        files[.main] = files[.main]?.filter { name, _ in
            !["model.speech_tower.", "model.vision_tower.", "model.mm_audio_projector."].contains { name.hasPrefix($0) }
        }
        #expect(Set(listed.map(\.part)) == Set(files.keys) && listed.count == files.count && listed.count == 10)
        for (part, parameters) in listed {
            let stored = try #require(files[part])
            #expect(parameters.map(\.path).sorted() == stored.keys.sorted(), "\(part)")
            for parameter in parameters {
                #expect(stored[parameter.path]?.shape == parameter.shape, "\(part) \(parameter.path)")
            }
        }
    }

    /// A convolution's parameters are those of the file, not of the packed form.
    @Test func aVocodersParametersAreTheFilesNumbers() throws {
        let vocoder = try Golden.b.checkpoint.vocoder.get()
        let path = Golden.path("b") + "/model_zoo/audio/vocoder/g_00500000"
        let stored = try TorchFile(path: path).tensors(under: ["generator"])
        for parameter in vocoder.parameters {
            let wanted = try #require(stored[parameter.path]).values().values
            switch parameter.value {
            case .stored(let tensor): #expect(try tensor.values().values == wanted, "\(parameter.path)")
            case .tensor(let tensor): #expect(tensor.values == wanted, "\(parameter.path)")
            case .weight: Issue.record("\(parameter.path) is a matrix")
            }
        }
    }

    @Test func aMissingTowerIsAnErrorWhenItIsNeeded() throws {
        let alone = try CheckpointCopy("b", zoo: false)
        var notes: [String] = []
        var options = CheckpointOptions()
        options.note = { notes.append($0) }
        let checkpoint = try alone.open(options)
        #expect(notes.count == 4, "one for each tower, one for the vocoder")
        for needed in [
            { _ = try checkpoint.speechNetworks.get() }, { _ = try checkpoint.visionNetworks.get() },
            { _ = try checkpoint.soundNetworks.get() }, { _ = try checkpoint.vocoder.get() },
        ] as [() throws -> Void] {
            do {
                try needed()
                Issue.record("no error was thrown")
            } catch {
                let error = error as? LyraError
                #expect(error?.code == .missing && error?.message.contains(alone.model) == true)
            }
        }
    }

    @Test func aTowerInTheCheckpointNeedsItsDirectoryOnlyForItsConfiguration() throws {
        // A head width of 16 cannot be derived from shapes: without its directory, a opens but takes no speech.
        let speech = try CheckpointCopy("a", zoo: false).open().speechNetworks
        let error = #expect(throws: LyraError.self) { try speech.get() }
        #expect(error?.code == .missing && error?.message.contains("model_zoo/audio/whisper-tiny") == true)
    }

    @Test func featuresThatDoNotFitTheTowerAreRefusedAtOnce() throws {
        let copy = try CheckpointCopy("b")
        try copy.edit(
            "model_zoo/audio/whisper-tiny/preprocessor_config.json", "\"feature_size\": 80", "\"feature_size\": 128")
        expect(.format, "preprocessor_config.json", "128", "80", open: copy)
    }

    @Test func tokenizerJSONServesWhereThereIsNoVocabulary() throws {
        let copy = try CheckpointCopy("a")
        for file in ["vocab.json", "merges.txt", "added_tokens.json", "tokenizer_config.json"] {
            try FileManager.default.removeItem(atPath: copy.model + "/" + file)
        }
        expect(.missing, "vocab.json", open: copy)
        try FileManager.default.copyItem(
            atPath: Golden.path("tokenizer") + "/tokenizer.json", toPath: copy.model + "/tokenizer.json")
        let text = "<|im_start|>user\nWhat is said?"
        #expect(try copy.open().tokenizer.encode(text) == Golden.a.checkpoint.tokenizer.encode(text))
    }

    @Test func invalidConfigurationsAreErrorsThatNameTheFileAndTheKey() throws {
        let bad = [
            ("\"hidden_size\": 64", "\"hidden_size\": -64", "hidden_size"),
            ("\"hidden_size\": 64", "\"hidden_size\": 9223372036854775807", "hidden_size"),
            ("\"hidden_size\": 64", "\"hidden_size\": \"many\"", "hidden_size"),
            ("\"num_attention_heads\": 4", "\"num_attention_heads\": 0", "num_attention_heads"),
            ("\"num_attention_heads\": 4", "\"num_attention_heads\": 5", "heads"),
            ("\"num_key_value_heads\": 2", "\"num_key_value_heads\": 3", "num_key_value_heads"),
            ("\"num_hidden_layers\": 8", "\"num_hidden_layers\": 1000000000", "num_hidden_layers"),
            ("\"rope_theta\": 1000000.0", "\"rope_theta\": 0", "rope_theta"),
            ("(2,32,2,64)", "(2,32)", "ctc_decoder_config"), ("(2,32,2,64)", "(2,32,3,64)", "heads"),
            (
                "\"ctc_upsample_factor\"", "\"speech_generator_context_rows\": 5, \"ctc_upsample_factor\"",
                "speech_generator_context_rows"
            ),
            ("\"speech_encoder_ds_rate\": 5", "\"speech_encoder_ds_rate\": 0", "speech_encoder_ds_rate"),
            ("\"vocab_size\": 2068", "\"vocab_size\": 0", "vocab_size"), ("{", "[", "config.json"),
        ]
        for (old, new, key) in bad {
            let copy = try CheckpointCopy("a")
            try copy.edit("lyra/config.json", old, new)
            expect(.format, "config.json", key, open: copy)
        }
    }

    @Test func wrongShapesAreErrorsThatNameTheTensor() throws {
        let copy = try CheckpointCopy("a")
        try copy.edit("lyra/config.json", "\"intermediate_size\": 128", "\"intermediate_size\": 64")
        expect(.format, "gate_proj.weight", "[128, 64]", "[64, 64]", open: copy)
        let layers = try CheckpointCopy("a")
        try layers.edit("lyra/config.json", "\"num_hidden_layers\": 8", "\"num_hidden_layers\": 9")
        expect(.missing, "model.layers.8.", open: layers)
        let small = try CheckpointCopy("b")
        try small.edit("lyra/config.json", "\"vocab_size\": 2062", "\"vocab_size\": 2061")
        expect(.format, "embed_tokens", open: small)
    }

    @Test func anAdapterOfAnotherModelIsRefused() throws {
        let copy = try CheckpointCopy("b")
        let target = copy.model + "/speech_lora/adapter_model.safetensors"
        try FileManager.default.removeItem(atPath: target)
        try FileManager.default.copyItem(
            atPath: Golden.path("a") + "/lyra/speech_lora/adapter_model.safetensors", toPath: target)
        expect(.format, "speech_lora", open: copy)
        let dora = try CheckpointCopy("b")
        try dora.edit("lyra/speech_lora/adapter_config.json", "\"use_dora\": false", "\"use_dora\": true")
        expect(.unsupported, "use_dora", open: dora)
        let fewer = try CheckpointCopy("b")
        try fewer.edit("lyra/config.json", "\"num_hidden_layers\": 6", "\"num_hidden_layers\": 5")
        expect(.format, "do not fit", open: fewer)
    }

    @Test func aTokenizerLargerThanTheEmbeddingIsRefused() throws {
        let copy = try CheckpointCopy("a")
        try copy.edit("lyra/added_tokens.json", "2061", "2099")
        try FileManager.default.removeItem(atPath: copy.model + "/tokenizer_config.json")
        expect(.format, "tokenizer", "2100", open: copy)
    }

    @Test func absentFilesAreErrorsOfTheCodeMissing() throws {
        let gone = try CheckpointCopy("a")
        try FileManager.default.removeItem(atPath: gone.model)
        expect(.missing, gone.model, open: gone)
        let copy = try CheckpointCopy("a")
        try FileManager.default.removeItem(atPath: copy.model + "/model-00002-of-00002.safetensors")
        expect(.missing, "model-00002-of-00002.safetensors", open: copy)
        let config = try CheckpointCopy("a")
        try FileManager.default.removeItem(atPath: config.model + "/config.json")
        expect(.missing, "config.json", open: config)
    }

    @Test func openingCanBeInterrupted() throws {
        var options = CheckpointOptions()
        options.progress = { done, total in
            #expect(done <= total)
            if done == 3 { throw LyraError(.state, "interrupted") }
        }
        #expect(throws: LyraError(.state, "interrupted")) {
            try Checkpoint.open(Golden.path("a") + "/lyra", options: options)
        }
    }
}
