import Foundation
import LyraFormats
import LyraModel
import LyraTools
import TestSupport
import Testing

@testable import Lyra

/// A plain Qwen2-VL in Hugging Face's layouts answers as transformers does, and says what it lacks.
@Suite struct Qwen2VLTests {
    @Test(arguments: Qwen2VL.layouts) func tokensAboutAPictureAreTransformers(_ layout: String) throws {
        let session = try Qwen2VL.session(Model(path: Qwen2VL.path(layout)))
        try session.feed(.image(.pixels(Qwen2VL.picture)))
        #expect(try session.ask("Describe it.").tokens == Qwen2VL.tokens(layout, "picture"))
    }

    @Test(arguments: Qwen2VL.layouts) func tokensAboutTextAreTransformers(_ layout: String) throws {
        let session = try Qwen2VL.session(Model(path: Qwen2VL.path(layout)))
        #expect(try session.ask("Hello! Who are you?").tokens == Qwen2VL.tokens(layout, "text"))
    }

    @Test(arguments: Qwen2VL.layouts) func itOpensWithoutAWord(_ layout: String) throws {
        var options = CheckpointOptions()
        var notes: [String] = []
        options.note = { notes.append($0) }
        _ = try Checkpoint.open(Qwen2VL.path(layout), options: options)
        #expect(notes == [])
    }

    @Test(arguments: Qwen2VL.layouts) func whatItLacksIsSaidByName(_ layout: String) throws {
        let model = try Model(path: Qwen2VL.path(layout))
        #expect(model.sees && !model.hearsSpeech && !model.hearsSound && !model.speaks)
        expect(.missing, "no speech tower", "no speech projector", "lyra assemble") {
            try Qwen2VL.session(model).feed(pcm: [0, 0.5, 0])
        }
        expect(.missing, "no sound projector") {
            try Qwen2VL.session(model).feed(.sound(.samples([0, 0.5, 0], sampleRate: 16_000)))
        }
        expect(.missing, "no speech generator") { _ = try Qwen2VL.session(model) { $0.speaks = true } }
    }

    /// Adapters in the forms in which PEFT saved them.
    @Test(arguments: ["plain", "pickled_rslora", "patterns", "whole_modules"])
    func tokensWithAnAdapterArePEFTs(_ adapter: String) throws {
        let scratch = try Scratch()
        let model = try scratch.copy(Qwen2VL.path("published"), as: "model")
        _ = try scratch.copy(Golden.path("qwen2vl/adapters/\(adapter)"), as: "model/test_lora")
        let file = scratch.path + "/model.gguf"
        _ = try ModelConverter(path: model, options: CheckpointOptions(), recipe: .bf16).write(to: file)
        for path in [model, file] {
            let session = try Qwen2VL.session(Model(path: path)) { $0.adapter = .named("test") }
            try session.feed(.image(.pixels(Qwen2VL.picture)))
            #expect(try session.ask("Describe it.").tokens == Qwen2VL.tokens(adapter: adapter), "\(path)")
        }
    }

    @Test func aConvertedFileAnswersTheSame() throws {
        let scratch = try Scratch()
        for layout in Qwen2VL.layouts {
            let file = scratch.path + "/\(layout).gguf"
            let converter = try ModelConverter(
                path: Qwen2VL.path(layout), options: CheckpointOptions(), recipe: .bf16)
            _ = try converter.write(to: file)
            let session = try Qwen2VL.session(Model(path: file))
            try session.feed(.image(.pixels(Qwen2VL.picture)))
            #expect(try session.ask("Describe it.").tokens == Qwen2VL.tokens(layout, "picture"), "\(layout)")
        }
    }

    @Test func theReferencesSplitOpensWithAndWithoutItsVisionTower() throws {
        let scratch = try Scratch()
        let (language, vision) = try scratch.split("published")
        var options = ModelOptions()
        options.towersDirectory = vision
        let session = try Qwen2VL.session(Model(path: language, options: options))
        try session.feed(.image(.pixels(Qwen2VL.picture)))
        #expect(try session.ask("Describe it.").tokens == Qwen2VL.tokens("published", "picture"))
        let alone = try Model(path: language)
        #expect(try Qwen2VL.session(alone).ask("Hello! Who are you?").tokens == Qwen2VL.tokens("published", "text"))
        expect(.missing, language, "visual") { try Qwen2VL.session(alone).feed(.image(.pixels(Qwen2VL.picture))) }
    }

    @Test func oneTensorUnderTheNamesOfTwoLayoutsIsRefused() throws {
        let scratch = try Scratch()
        let model = try scratch.copy(Qwen2VL.path("published"), as: "model")
        var tensors = try ShardedSafetensors(directory: model).tensors
        tensors["model.language_model.norm.weight"] = tensors["model.norm.weight"]
        try scratch.write(tensors, as: "model/model.safetensors")
        expect(.format, "model.language_model.norm.weight", "model.norm.weight") { _ = try Model(path: model) }
    }

    @Test func imageSettingsOfTransformers5AreRead() throws {
        let scratch = try Scratch()
        let model = try scratch.copy(Qwen2VL.path("newer"), as: "model")
        let settings = try String(contentsOfFile: model + "/preprocessor_config.json", encoding: .utf8)
        try FileManager.default.removeItem(atPath: model + "/preprocessor_config.json")
        for (most, sees) in [("12845056", true), ("3136", false)] {
            let changed = settings.replacingOccurrences(of: "12845056", with: most)
            try "{\"image_processor\": \(changed), \"processor_class\": \"Qwen2VLProcessor\"}"
                .write(toFile: model + "/processor_config.json", atomically: true, encoding: .utf8)
            let session = try Qwen2VL.session(Model(path: model))
            try session.feed(.image(.pixels(Qwen2VL.picture)))
            let tokens = try session.ask("Describe it.").tokens
            // 84 × 112 pixels give 3 × 4 rows. Within 3136 pixels both sides shrink by √3 and are rounded down to
            // multiples of 28: 28 × 56 pixels, 1 × 2 rows.
            #expect(session.usage.mediaTokens == (sees ? 12 : 2))
            if sees { #expect(try tokens == Qwen2VL.tokens("newer", "picture")) }
        }
    }
}
