import Foundation
import LyraBase
import LyraFormats
import LyraTensor
import LyraTools
import TestSupport
import Testing

@testable import LyraModel

/// Adapters before their training, and adapters from other directories.
@Suite struct FreshAdapterTests {
    private static let b = Golden.path("b/lyra")

    private static func make(
        _ scratch: TemporaryDirectory, _ name: String = "fresh", of checkpoint: String = b, rank: Int = 8,
        seed: UInt64 = 5, _ change: (inout AdapterSettings) -> Void = { _ in }
    ) throws -> String {
        var settings = AdapterSettings(rank: rank, alpha: 16)
        change(&settings)
        let path = scratch.path + "/" + name
        try FreshAdapter(checkpoint: checkpoint, settings: settings, seed: seed).write(to: path)
        return path
    }

    private static func open(_ path: String, _ adapters: [(String, String)], zoo: String = "b") throws -> Checkpoint {
        var options = CheckpointOptions()
        options.adapterDirectories = adapters.map { (name: $0.0, path: $0.1) }
        options.towers = Golden.path(zoo + "/model_zoo")
        return try Checkpoint.open(path, options: options)
    }

    /// U(−1/√inputs, 1/√inputs), which `kaiming_uniform_(a=√5)` is for a matrix [rank, inputs].
    @Test func itStartsAsPEFTs() throws {
        let scratch = try TemporaryDirectory()
        let tensors = try Safetensors(path: Self.make(scratch) + "/adapter_model.safetensors").tensors
        let language = Golden.b.checkpoint.configuration.language
        #expect(tensors.count == language.layers * 7 * 2)
        var (squares, count) = (0.0, 0.0)
        for (name, tensor) in tensors {
            let values = try tensor.floats()
            guard name.hasSuffix("lora_A.weight") else {
                #expect(tensor.shape[1] == 8 && values.allSatisfy { $0 == 0 }, "\(name)")
                continue
            }
            #expect(tensor.shape[0] == 8 && tensor.shape[1] == (name.contains("down_proj") ? 160 : 96))
            let bound = 1 / Float(tensor.shape[1]).squareRoot()
            let largest = values.reduce(0) { max($0, abs($1)) }
            #expect(largest <= bound && largest > 0.98 * bound, "\(name)")
            for value in values.map({ Double($0 / bound) }) {
                squares += value * value
                count += 1
            }
        }
        // The variance is 1/3; five standard errors of the mean of squares, whose deviation is √(1/5 − 1/9).
        #expect(abs(squares / count - 1.0 / 3) < 5 * 0.3 / count.squareRoot())
    }

    @Test func theSeedDeterminesIt() throws {
        let scratch = try TemporaryDirectory()
        func bytes(_ name: String, _ seed: UInt64) throws -> Data? {
            FileManager.default.contents(
                atPath: try Self.make(scratch, name, seed: seed) + "/adapter_model.safetensors")
        }
        let first = try bytes("one", 5)
        #expect(try first != nil && bytes("two", 5) == first && bytes("three", 6) != first)
    }

    @Test func itChangesNothingYet() throws {
        let scratch = try TemporaryDirectory()
        let folder = try Self.make(scratch)
        let bare = try AdapterCheckpoint("b")
        let file = try OneFile(bare.copy.model, .q8_0)
        for path in [bare.copy.model, file.path] {
            let checkpoint = try Self.open(path, [("speech", folder)])
            #expect(checkpoint.adapters == ["speech"])
            #expect(
                try AdapterCheckpoint.logits(checkpoint, adapter: 0)
                    == AdapterCheckpoint.logits(checkpoint, adapter: nil))
        }
        let checkpoint = try Self.open(bare.copy.model, [("speech", folder)])
        let (speech, encoded) = (try checkpoint.speechNetworks.get(), try Golden.b.encode(Golden.b.shortRecording))
        #expect(try speech.adapterProjectors.count == 1 && #require(speech.adapterProjectors.first) != nil)
        // Weights of two types are multiplied in pieces of other sizes.
        #expect(
            try difference(
                speech.project(encoded, adapter: 0).values, speech.project(encoded, adapter: nil).values) < 1e-6)
    }

    /// Of a quantized file: the shapes are those of the matrices, and the projector is what the file has.
    @Test func itIsMadeForAOneFileModel() throws {
        let scratch = try TemporaryDirectory()
        let file = try OneFile(Self.b, .q8_0)
        var options = CheckpointOptions()
        options.towers = Golden.path("b/model_zoo")
        let folder = try Self.make(scratch, of: file.path)
        let own = try Safetensors(path: folder + "/adapter_model.safetensors").tensors
        let other = try Safetensors(path: Self.make(scratch, "other") + "/adapter_model.safetensors").tensors
        #expect(Set(own.keys) == Set(other.keys))
        for (name, tensor) in own { #expect(try tensor.floats() == other[name]?.floats()) }
        #expect(try Self.open(file.path, [("new", folder)]).adapters.contains("new"))
    }

    @Test func wholeModulesAreCopies() throws {
        let scratch = try TemporaryDirectory()
        // A tied head is the embeddings.
        for name in ["a", "b"] {
            let folder = try Self.make(scratch, name, of: Golden.path(name + "/lyra")) {
                $0.targetModules = ["q_proj"]
                $0.wholeModules = ["embed_tokens", "lm_head", "model.norm"]
            }
            let tensors = try Safetensors(path: folder + "/adapter_model.safetensors").tensors
            let base = try ShardedSafetensors(directory: Golden.path(name + "/lyra")).tensors
            let layers = Golden.both.first { $0.name == name }?.checkpoint.configuration.language.layers ?? 0
            #expect(tensors.count == 2 * layers + 3)
            for (module, source) in [
                ("model.embed_tokens", "model.embed_tokens"), ("model.norm", "model.norm"),
                ("lm_head", name == "a" ? "model.embed_tokens" : "lm_head"),
            ] {
                let copy = try #require(tensors["base_model.model.\(module).weight"])
                #expect(try copy.floats() == base[source + ".weight"]?.floats(), "\(name) \(module)")
            }
            let checkpoint = try Self.open(Golden.path(name + "/lyra"), [("new", folder)], zoo: name)
            let index = try #require(checkpoint.adapterIndex("new"))
            #expect(
                try AdapterCheckpoint.logits(checkpoint, adapter: index)
                    == AdapterCheckpoint.logits(checkpoint, adapter: nil))
        }
    }

    @Test func modulesThatAreNotThereAreNamed() throws {
        let scratch = try TemporaryDirectory()
        expect(.argument, "qkv_proj", "gate_proj") {
            _ = try Self.make(scratch) { $0.targetModules = ["q_proj", "qkv_proj"] }
        }
        expect(.argument, "score", "embed_tokens") { _ = try Self.make(scratch) { $0.wholeModules = ["score"] } }
        #expect(try FileManager.default.contentsOfDirectory(atPath: scratch.path) == [])
    }

    // MARK: Adapters from other directories

    @Test func aGivenAdapterStandsBesideOrReplacesTheCheckpointsOwn() throws {
        let scratch = try TemporaryDirectory()
        let fresh = try Self.make(scratch)
        let long = Self.b + "/long_speech_lora"
        let file = try OneFile(Self.b, .f32)
        for path in [Self.b, file.path] {
            let own = try Self.open(path, [])
            let given = try Self.open(path, [("speech_lora", long), ("mine", fresh)])
            #expect(own.adapters == ["long_speech", "speech"] && given.adapters == ["long_speech", "speech", "mine"])
            func logits(_ checkpoint: Checkpoint, _ name: String?) throws -> [Float] {
                try AdapterCheckpoint.logits(
                    checkpoint, adapter: name.map { try #require(checkpoint.adapterIndex($0)) })
            }
            #expect(difference(try logits(given, "speech"), try logits(own, "long_speech")) < Golden.tolerance)
            #expect(difference(try logits(given, "speech"), try logits(own, "speech")) > 0.01)
            #expect(try logits(given, "mine") == logits(own, nil))
        }
    }

    @Test func whatIsNoAdapterIsRefusedByName() throws {
        let scratch = try TemporaryDirectory()
        let fresh = try Self.make(scratch)
        expect(.missing, scratch.path, "adapter_config.json") { _ = try Self.open(Self.b, [("speech", scratch.path)]) }
        expect(.missing, "/nope") { _ = try Self.open(Self.b, [("speech", "/nope")]) }
        for name in ["auto", "none", "", "_lora", ".hidden", "a/b"] {
            expect(.argument, fresh, "name") { _ = try Self.open(Self.b, [(name, fresh)]) }
        }
        let other = Golden.path("a/lyra/speech_lora")
        expect(.format, "a/lyra/speech_lora") { _ = try Self.open(Self.b, [("speech", other)]) }
    }

    /// A conversion keeps it.
    @Test func aConvertedFileHasTheGivenAdapter() throws {
        let scratch = try TemporaryDirectory()
        var options = CheckpointOptions()
        options.adapterDirectories = [("speech", Self.b + "/long_speech_lora"), ("mine", try Self.make(scratch))]
        options.towers = Golden.path("b/model_zoo")
        let file = try OneFile(Self.b, .f32, options: options)
        let (made, wanted) = (try file.open(), try Checkpoint.open(Self.b, options: options))
        #expect(made.adapters == ["long_speech", "speech", "mine"])
        for adapter in 0..<3 {
            #expect(
                difference(
                    try AdapterCheckpoint.logits(made, adapter: adapter),
                    try AdapterCheckpoint.logits(wanted, adapter: adapter)) < Golden.tolerance)
        }
    }
}
