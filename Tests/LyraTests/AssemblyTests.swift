import Foundation
import LyraFormats
import LyraModel
import LyraTensor
import LyraTools
import TestSupport
import Testing

@testable import Lyra

/// Lyra checkpoints that are assembled of open parts.
@Suite struct AssemblyTests {
    private static let projector = Golden.path("a/lyra/speech_lora/non_lora_trainables.bin")

    /// A checkpoint of a Qwen2-VL and the Whisper of fixture a. → its path, and the notes
    private func assemble(
        in scratch: Scratch, _ layout: String = "published", seed: UInt64 = 1, copies: Bool = false,
        as name: String = "made", _ change: (inout AssemblyParts) throws -> Void = { _ in }
    ) throws -> (path: String, notes: [String], summary: CheckpointAssembler.Summary) {
        var parts = AssemblyParts(languageModel: Qwen2VL.path(layout))
        let whisper = scratch.path + "/whisper"
        parts.speechTower = FileManager.default.fileExists(atPath: whisper) ? whisper : try scratch.whisper()
        try change(&parts)
        var notes: [String] = []
        let assembler = CheckpointAssembler(parts, seed: seed, copies: copies, note: { notes.append($0) })
        let path = scratch.path + "/" + name
        let summary = try assembler.write(to: path)
        return (path, notes, summary)
    }

    private func files(_ directory: String) throws -> [String] {
        try FileManager.default.subpathsOfDirectory(atPath: directory).sorted()
    }

    /// Hears what transformers hears through the same encoder and projector, and sees what it saw before.
    @Test func itHearsAndSees() throws {
        let scratch = try Scratch()
        let (path, notes, summary) = try assemble(in: scratch) { $0.speechProjector = Self.projector }
        let model = try Model(path: path)
        var session = try Qwen2VL.session(model)
        #expect(
            try session.ask("What is said?", hearing: Golden.a.shortRecording).tokens
                == Qwen2VL.tokens("published", "speech"))
        #expect(session.usage.adapter == nil && session.usage.mediaTokens == 300)
        session = try Qwen2VL.session(model)
        try session.feed(.image(.pixels(Qwen2VL.picture)))
        #expect(try session.ask("Describe it.").tokens == Qwen2VL.tokens("published", "picture"))
        #expect(notes.count == 5 && summary.linkedBytes > 0 && summary.copiedBytes == 0)
        for part in ["speech_lora", "long_speech_lora", "speech generator", "vocoder", "sound tower"] {
            #expect(notes.contains { $0.contains(part) }, "\(part)")
        }
        expect(.missing, "no speech generator") { _ = try Qwen2VL.session(model) { $0.speaks = true } }
    }

    @Test(arguments: Qwen2VL.layouts) func theLayoutIsThePublishedOne(_ layout: String) throws {
        let scratch = try Scratch()
        let (path, _, _) = try assemble(in: scratch, layout)
        let names = Set(try files(path))
        for name in [
            "config.json", "generation_config.json", "vocab.json", "merges.txt", "added_tokens.json",
            "tokenizer_config.json", "model.safetensors.index.json", "speech_projector.safetensors",
            "model_zoo/audio/whisper/config.json", "model_zoo/audio/whisper/preprocessor_config.json",
            "model_zoo/audio/whisper/model.safetensors", "model_zoo/vision/Qwen2VL_ViT/config.json",
            "model_zoo/vision/Qwen2VL_ViT/preprocessor_config.json",
        ] { #expect(names.contains(name), "\(name)") }
        #expect(!names.contains("model.safetensors"), "transformers would take it for the whole model")
        // The vocabulary is that of fixture a, whose release has the same files.
        for (name, wanted) in [("vocab.json", "a/lyra/vocab.json"), ("added_tokens.json", "a/lyra/added_tokens.json")] {
            #expect(try json(path + "/" + name) == json(Golden.path(wanted)), "\(name)")
        }
        let configuration = try json(path + "/config.json")
        let published = try json(Golden.path("a/lyra/config.json"))
        let same = [
            "architectures", "model_type", "hidden_size", "rms_norm_eps", "rope_theta", "rope_scaling",
            "mm_hidden_size", "mm_projector_type", "mm_speech_projector_type", "mm_speech_hidden_size",
            "speech_encoder_ds_rate",
            "speech_encoder_hidden_size", "speech_norm", "align_temperature", "align_type", "weight_lambda",
            "image_aspect_ratio", "bos_token_id", "eos_token_id", "compress_gap", "keep_rate",
        ]
        for key in same { #expect(configuration[key] as? NSObject == published[key] as? NSObject, "\(key)") }
        var notes: [String] = []
        var options = CheckpointOptions()
        options.note = { notes.append($0) }
        _ = try Checkpoint.open(path, options: options)
        #expect(notes == [])
    }

    private func json(_ path: String) throws -> NSDictionary {
        let value = try JSONSerialization.jsonObject(with: Data(contentsOf: URL(filePath: path)))
        return try #require(value as? NSDictionary)
    }

    @Test func newerNamesAnswerTheSame() throws {
        let scratch = try Scratch()
        let session = try Qwen2VL.session(Model(path: assemble(in: scratch, "newer").path))
        try session.feed(.image(.pixels(Qwen2VL.picture)))
        #expect(try session.ask("Describe it.").tokens == Qwen2VL.tokens("newer", "picture"))
    }

    @Test func theReferencesSplitIsPutTogether() throws {
        let scratch = try Scratch()
        let (language, vision) = try scratch.split("published")
        let path = try assemble(in: scratch) { ($0.languageModel, $0.visionTower) = (language, vision) }.path
        let session = try Qwen2VL.session(Model(path: path))
        try session.feed(.image(.pixels(Qwen2VL.picture)))
        #expect(try session.ask("Describe it.").tokens == Qwen2VL.tokens("published", "picture"))
    }

    @Test func aGivenVisionTowerReplacesTheOneInside() throws {
        let scratch = try Scratch()
        let (_, vision) = try scratch.split("published")
        let (path, _, _) = try assemble(in: scratch) { $0.visionTower = vision }
        let index = try String(contentsOfFile: path + "/model.safetensors.index.json", encoding: .utf8)
        #expect(!index.contains("visual."))
        let session = try Qwen2VL.session(Model(path: path))
        try session.feed(.image(.pixels(Qwen2VL.picture)))
        #expect(try session.ask("Describe it.").tokens == Qwen2VL.tokens("published", "picture"))
    }

    @Test func weightsAreLinkedUnlessACopyIsAskedFor() throws {
        let scratch = try Scratch()
        // In the scratch directory, so that a hard link is possible wherever the fixtures are.
        let language = try scratch.copy(Qwen2VL.path("published"), as: "llm")
        for copies in [false, true] {
            let (path, _, summary) = try assemble(in: scratch, copies: copies, as: "made-\(copies)") {
                $0.languageModel = language
            }
            let file = path + "/model-00001-of-00001.safetensors"
            let isSame = try FileIdentity(path: file) == FileIdentity(path: language + "/model.safetensors")
            #expect(isSame == !copies)
            #expect((summary.linkedBytes == 0) == copies && (summary.copiedBytes == 0) == !copies)
            #expect(FileManager.default.contentsEqual(atPath: file, andPath: language + "/model.safetensors"))
        }
    }

    /// U(−1/√inputs, 1/√inputs), as torch.nn.Linear starts: the bounds are reached, and mean and deviation fit.
    @Test func aFreshProjectorIsSeededAndStartsAsTheReferences() throws {
        let scratch = try Scratch()
        func projector(_ name: String, _ seed: UInt64) throws -> [String: StoredTensor] {
            let (path, notes, _) = try assemble(in: scratch, seed: seed, as: name)
            #expect(notes.contains { $0.contains("seed \(seed)") && $0.contains("stage 1") })
            return try Safetensors(path: path + "/speech_projector.safetensors").tensors
        }
        let (first, same, other) = (try projector("one", 7), try projector("two", 7), try projector("three", 8))
        for (layer, outputs, inputs) in [("linear1", 2048, 240), ("linear2", 64, 2048)] {
            for part in ["weight", "bias"] {
                let name = "model.mm_speech_projector.\(layer).\(part)"
                let tensor = try #require(first[name])
                #expect(tensor.shape == (part == "weight" ? [outputs, inputs] : [outputs]) && tensor.type == .bfloat16)
                let values = try tensor.floats()
                #expect(try values == same[name]?.floats() && values != other[name]?.floats())
                checkUniform(values, bound: 1 / Double(inputs).squareRoot(), name)
            }
        }
    }

    /// Checks that the values reach ±`bound` and no further, and have the mean and the deviation of uniform numbers.
    private func checkUniform(_ values: [Float], bound: Double, _ name: String) {
        let count = Double(values.count)
        var (sum, squares, largest) = (0.0, 0.0, 0.0)
        for value in values.map({ Double($0) }) {
            sum += value
            squares += value * value
            largest = max(largest, abs(value))
        }
        let deviation = (squares / count).squareRoot()
        let wanted = bound / 3.0.squareRoot()
        // BF16 rounds by up to 2⁻⁹ of a number.
        #expect(largest <= bound * 1.004, "\(name)")
        #expect(largest > 0.9 * bound, "\(name)")
        // Five standard errors of mean and deviation; the kurtosis of a uniform distribution is 1.8.
        let error = wanted / count.squareRoot()
        #expect(abs(sum / count) < 5 * error, "\(name)")
        #expect(abs(deviation - wanted) < 5 * error * 0.45, "\(name)")
    }

    @Test(arguments: ["", "model.", "model.mm_speech_projector.", "base_model.model.model.mm_speech_projector."])
    func projectorsAreFoundUnderEveryPublishedPrefix(_ prefix: String) throws {
        let scratch = try Scratch()
        var tensors: [String: StoredTensor] = [:]
        for (name, tensor) in try TorchFile(path: Self.projector).tensors() {
            tensors[prefix + (name.components(separatedBy: "mm_speech_projector.").last ?? "")] = tensor
        }
        try scratch.write(tensors, as: "projector.safetensors")
        let path = try assemble(in: scratch) { $0.speechProjector = scratch.path + "/projector.safetensors" }.path
        let session = try Qwen2VL.session(Model(path: path))
        #expect(
            try session.ask("What is said?", hearing: Golden.a.shortRecording).tokens
                == Qwen2VL.tokens("published", "speech"))
    }

    @Test func vocoderSoundTowerAndAdaptersAreTakenOver() throws {
        let scratch = try Scratch()
        let adapter = scratch.path + "/speech_lora"
        try FileManager.default.createDirectory(atPath: adapter, withIntermediateDirectories: true)
        try #"{"peft_type": "LORA", "r": 2, "lora_alpha": 4}"#
            .write(toFile: adapter + "/adapter_config.json", atomically: true, encoding: .utf8)
        let module = "base_model.model.model.layers.1.self_attn.q_proj."
        try scratch.write(
            [
                module + "lora_A.weight": StoredTensor(.float32, [2, 64], [UInt8](repeating: 60, count: 512)),
                module + "lora_B.weight": StoredTensor(.float32, [64, 2], [UInt8](repeating: 60, count: 512)),
            ], as: "speech_lora/adapter_model.safetensors")
        let (path, notes, _) = try assemble(in: scratch) {
            $0.vocoder = Golden.path("a/model_zoo/audio/vocoder")
            $0.soundTower = Golden.path("a/model_zoo/audio/imagebind_tiny.pth")
            $0.soundProjector = nil
            $0.adapters = [adapter + "/"]
        }
        let names = Set(try files(path))
        #expect(names.isSuperset(of: ["model_zoo/audio/vocoder/g_00500000", "model_zoo/audio/imagebind_tiny.pth"]))
        let model = try Model(path: path)
        #expect(model.checkpoint.adapters == ["speech"])
        #expect(!notes.contains { $0.contains("no adapter speech_lora") || $0.contains("no vocoder") })
        #expect(notes.contains { $0.contains("no sound projector") })
        let session = try Qwen2VL.session(model)
        _ = try session.ask("What is said?", hearing: Golden.a.shortRecording)
        #expect(session.usage.adapter == "speech")
    }

    /// The sound projector of fixture a fits: both language models are 64 wide.
    @Test func aSoundProjectorIsTakenOver() throws {
        let scratch = try Scratch()
        let own = try ShardedSafetensors(directory: Golden.path("a/lyra")).tensors
            .filter { $0.key.hasPrefix("model.mm_audio_projector.") }
        try scratch.write(own, as: "sound.safetensors")
        let path = try assemble(in: scratch) {
            $0.soundTower = Golden.path("a/model_zoo/audio/imagebind_tiny.pth")
            $0.soundProjector = scratch.path + "/sound.safetensors"
        }.path
        #expect(try Model(path: path).hearsSound)
    }

    /// A tokenizer of Qwen2, which has no tokens for pictures.
    @Test func missingSpecialTokensAreAddedWhereTheEmbeddingsHaveRoom() throws {
        let scratch = try Scratch()
        let language = try scratch.copy(Qwen2VL.path("newer"), as: "llm")
        let cut = "    {\n      \"id\": 2051"
        let text = try String(contentsOfFile: language + "/tokenizer.json", encoding: .utf8)
        let value = try JSONSerialization.jsonObject(with: Data(text.utf8))
        var tokenizer = try #require(value as? [String: Any], "\(cut)")
        let added = try #require(tokenizer["added_tokens"] as? [[String: Any]])
        tokenizer["added_tokens"] = added.filter { ($0["id"] as? Int ?? 0) < 2051 }
        try JSONSerialization.data(withJSONObject: tokenizer).write(to: URL(filePath: language + "/tokenizer.json"))
        let (path, notes, _) = try assemble(in: scratch) { $0.languageModel = language }
        #expect(notes.contains { $0.contains("<|vision_start|>") })
        #expect(try json(path + "/added_tokens.json") == json(Golden.path("a/lyra/added_tokens.json")))
        let session = try Qwen2VL.session(Model(path: path))
        try session.feed(.image(.pixels(Qwen2VL.picture)))
        #expect(try session.ask("Describe it.").tokens == Qwen2VL.tokens("newer", "picture"))

        tokenizer["added_tokens"] =
            (tokenizer["added_tokens"] as? [[String: Any]] ?? [])
            + [["id": 2060, "content": "<|last|>", "special": true]]
        try JSONSerialization.data(withJSONObject: tokenizer).write(to: URL(filePath: language + "/tokenizer.json"))
        expect(.unsupported, language, "<|vision_start|>", "2064") {
            _ = try assemble(in: scratch, as: "full") { $0.languageModel = language }
        }
    }

    // MARK: Refusals

    /// Each is refused by the names of both sides, and nothing is left behind.
    @Test func partsThatDoNotBelongTogetherAreRefused() throws {
        let scratch = try Scratch()
        let whisper = try scratch.whisper()
        let (_, vision) = try scratch.split("published")
        try scratch.edit("vit/config.json", "\"hidden_size\":64", "\"hidden_size\":96")
        let mels = try scratch.copy(whisper, as: "mels")
        try scratch.edit("mels/preprocessor_config.json", "128", "80")
        let before = try files(scratch.path)
        func refuse(
            _ code: LyraError.Code, _ parts: [String], _ change: (inout AssemblyParts) throws -> Void
        ) throws {
            let error = lyraError { _ = try assemble(in: scratch) { try change(&$0) } }
            #expect(error.code == code, "\(error.message)")
            for part in parts { #expect(error.message.contains(part), "\(error.message)") }
            #expect(!error.message.contains(".partial"), "\(error.message)")
            #expect(try files(scratch.path) == before)
        }
        try refuse(.format, [vision, "96", "64"]) { $0.visionTower = vision }
        try refuse(.format, [mels + "/preprocessor_config.json", "80", "128"]) { $0.speechTower = mels }
        try refuse(.format, ["b/lyra/speech_lora", "96", "64"]) {
            $0.speechProjector = Golden.path("b/lyra/speech_lora/non_lora_trainables.bin")
        }
        try refuse(.format, [Self.projector, "240", "32"]) {
            $0.speechTower = Golden.path("b/model_zoo/audio/whisper-tiny")
            $0.speechProjector = Self.projector
        }
        try refuse(.argument, [Self.projector, "speech tower"]) {
            $0.speechTower = nil
            $0.speechProjector = Self.projector
        }
        try refuse(.format, ["a/lyra/speech_lora", "do not fit"]) {
            $0.adapters = [Golden.path("a/lyra/speech_lora")]
        }
        try refuse(.argument, ["a/lyra", "mm_speech_tower"]) { $0.languageModel = Golden.path("a/lyra") }
        try refuse(.missing, ["nowhere"]) { $0.languageModel = scratch.path + "/nowhere" }
        try refuse(.missing, ["nowhere"]) { $0.vocoder = scratch.path + "/nowhere" }
        try refuse(.missing, ["answers.safetensors", "speech projector"]) {
            $0.speechProjector = Golden.path("qwen2vl/answers.safetensors")
        }
        try refuse(.missing, ["vocoder/g_00500000", "ImageBind"]) {
            $0.soundTower = Golden.path("a/model_zoo/audio/vocoder/g_00500000")
        }
    }

    @Test func anOccupiedPlaceIsRefusedAndLeftAlone() throws {
        let scratch = try Scratch()
        let place = try scratch.copy(Golden.path("media/hi.mp3"), as: "made/mine")
        expect(.io, scratch.path + "/made") { _ = try assemble(in: scratch) }
        #expect(FileManager.default.contentsEqual(atPath: place, andPath: Golden.path("media/hi.mp3")))
        #expect(try files(scratch.path + "/made") == ["mine"])
        expect(.io, place) { _ = try assemble(in: scratch, as: "made/mine") }
    }

    @Test func givingUpLeavesNothing() throws {
        let scratch = try Scratch()
        let whisper = try scratch.whisper()
        let before = try files(scratch.path)
        var parts = AssemblyParts(languageModel: Qwen2VL.path("published"))
        parts.speechTower = whisper
        for limit in [1, 5, 12, 20] {
            var calls = 0
            let assembler = CheckpointAssembler(
                parts, copies: true,
                check: {
                    calls += 1
                    if calls > limit { throw LyraError(.state, "given up") }
                })
            #expect(throws: LyraError(.state, "given up")) { try assembler.write(to: scratch.path + "/made") }
            #expect(try files(scratch.path) == before)
        }
    }
}
