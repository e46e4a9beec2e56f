import Foundation
import LyraBase
import LyraFormats
import LyraTensor
import LyraTools
import TestSupport
import Testing

@testable import LyraModel

/// Changed copies of whole checkpoints.
@Suite struct ModelWriterTests {
    /// A tensor of each part that training can change.
    private static let changed: [(ModelPart, String)] = [
        (.main, "model.layers.1.mlp.up_proj.weight"), (.main, "model.layers.2.self_attn.k_proj.bias"),
        (.main, "model.norm.weight"), (.main, "model.mm_speech_projector.linear2.weight"),
        (.main, "speech_generator.output_proj.weight"), (.visionTower, "blocks.0.attn.qkv.weight"),
        (.speechTower, "layers.1.fc1.weight"), (.vocoder, "dur_predictor.proj.weight"),
        (.adapter(1), "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"),
        (.adapterProjector(0), "linear1.bias"), (.soundTower, "modality_heads.audio.2.weight"),
    ]

    private static func writer(_ fixture: String) throws -> ModelWriter {
        var options = CheckpointOptions()
        options.towers = Golden.path(fixture + "/model_zoo")
        return try ModelWriter(Golden.path(fixture + "/lyra"), options: options)
    }

    /// New numbers for a tensor: halves, which every type has exactly.
    private static func halves(_ shape: [Int]) throws -> Tensor {
        try Tensor(rows: 1, columns: shape.reduce(1, *)) { _, column in Float(column % 61 - 30) / 2 }.reshaped(shape)
    }

    private static func changes(_ writer: ModelWriter, _ type: ElementType?) throws -> ModelChanges {
        var changes = ModelChanges()
        changes.type = type
        // a's sound projector is one matrix, b's has layers.
        let projector = try #require(writer.tensors(.soundProjector).keys.min())
        for (part, name) in changed + [(.soundProjector, projector)] {
            let shape = try #require(writer.tensors(part)[name], "\(part) \(name)").shape
            changes.set(part, NewTensor(name, shape) { try halves(shape) })
        }
        return changes
    }

    /// Every tensor of every part is either the new one or bit for bit the old one, under its old name.
    @Test(arguments: ["a", "b"], [nil, ElementType.float32, .float16])
    func newTensorsReplaceTheOldAndNothingElseChanges(_ fixture: String, _ type: ElementType?) throws {
        let scratch = try TemporaryDirectory()
        let writer = try Self.writer(fixture)
        let summary = try writer.write(Self.changes(writer, type), to: scratch.path + "/made")
        #expect(summary.writtenBytes > 0)
        let made = try ModelWriter(scratch.path + "/made")
        #expect(made.contents.adapters == writer.contents.adapters)
        #expect(made.contents.tensors.map(\.part) == writer.contents.tensors.map(\.part))
        var replaced = 0
        // A tower inside the checkpoint, and a sound projector, are among the main part's tensors too.
        let changes = try Self.changes(writer, type)
        let aliases = Set(
            changes.tensors.flatMap { part, tensors in
                tensors.compactMap { writer.tensors(part)[$0.name].map { "\($0.source)/\($0.name)" } }
            })
        for (part, tensors) in writer.contents.tensors {
            let own = made.tensors(part)
            #expect(Set(own.keys) == Set(tensors.keys))
            for (name, old) in tensors {
                let new = try #require(own[name])
                #expect(new.name == old.name && new.shape == old.shape, "\(part) \(name)")
                if aliases.contains("\(old.source)/\(old.name)") {
                    replaced += 1
                    #expect(new.type == type ?? old.type, "\(part) \(name)")
                    #expect(try new.floats() == Self.halves(old.shape).values, "\(part) \(name)")
                } else {
                    #expect(new.type == old.type && new.bytes.elementsEqual(old.bytes), "\(part) \(name)")
                }
            }
        }
        #expect(replaced > Self.changed.count)
        #expect(made.checkpoint.vocoder.isPresent && made.checkpoint.soundNetworks.isPresent)
        for name in ["config.json", "vocab.json", "generation_config.json"] {
            let files = [scratch.path + "/made/", Golden.path(fixture + "/lyra/")].map { $0 + name }
            #expect(FileManager.default.contentsEqual(atPath: files[0], andPath: files[1]), "\(name)")
        }
    }

    @Test func filesWithoutNewTensorsAreLinked() throws {
        let scratch = try TemporaryDirectory()
        // In one directory, so that a hard link is possible wherever the fixtures are.
        for part in ["lyra", "model_zoo"] {
            try FileManager.default.copyItem(atPath: Golden.path("b/" + part), toPath: scratch.path + "/" + part)
        }
        let writer = try ModelWriter(scratch.path + "/lyra")
        var changes = ModelChanges()
        let name = "model.layers.0.input_layernorm.weight"
        changes.set(.main, NewTensor(name, try Tensor(zeros: [96])))
        for copies in [false, true] {
            let made = scratch.path + "/made-\(copies)"
            let summary = try writer.write(changes, to: made, copies: copies)
            let shard = try #require(writer.tensors(.main)[name]).source
            for file in [
                "model_zoo/audio/whisper-tiny/model.safetensors", "model_zoo/audio/imagebind_tiny.pth",
                "model_zoo/vision/Qwen2VL_tiny_ViT/model.safetensors", "model_zoo/audio/vocoder/g_00500000",
                "lyra/speech_lora/adapter_model.safetensors", "lyra/speech_lora/non_lora_trainables.bin",
                "lyra/model-00001-of-00002.safetensors", "lyra/model-00002-of-00002.safetensors",
            ] {
                let old = scratch.path + "/" + file
                let new = made + "/" + (file.hasPrefix("lyra/") ? String(file.dropFirst(5)) : file)
                let isSame = try FileIdentity(path: new) == FileIdentity(path: old)
                #expect(isSame == (!copies && old != shard), "\(file)")
            }
            #expect((summary.linkedBytes > 0) == !copies && (summary.copiedBytes > 0) == copies)
        }
    }

    /// The index lists each tensor once, in a file that has it; files stay under the limit.
    @Test func shardsHaveALimitAndAnIndex() throws {
        let scratch = try TemporaryDirectory()
        let writer = try Self.writer("b"), limit = 300_000
        let main = writer.tensors(.main)
        var changes = ModelChanges()
        for (name, tensor) in main { changes.set(.main, NewTensor(name, tensor)) }
        changes.type = .float32
        _ = try writer.write(changes, to: scratch.path + "/made", shardBytes: limit)
        let made = try ShardedSafetensors(directory: scratch.path + "/made")
        #expect(Set(made.names) == Set(main.keys))
        let count = made.shards.count
        #expect(count > 4)
        var total = 0
        for (number, shard) in made.shards.enumerated() {
            func padded(_ number: Int) -> String { String(repeating: "0", count: number < 10 ? 4 : 3) + "\(number)" }
            #expect(shard.file.path.hasSuffix("/model-\(padded(number + 1))-of-\(padded(count)).safetensors"))
            let bytes = shard.tensors.values.reduce(0) { $0 + $1.byteCount }
            #expect(bytes <= limit || shard.tensors.count == 1)
            total += bytes
        }
        let index = try JSONFile.decode(Index.self, path: scratch.path + "/made/model.safetensors.index.json")
        #expect(index.metadata.total_size == total && total == main.values.reduce(0) { $0 + 4 * $1.count })
    }

    private struct Index: Decodable {
        struct Metadata: Decodable { var total_size: Int }
        var metadata: Metadata
    }

    /// A speech generator for a checkpoint that has none, with its keys.
    @Test func tensorsAndKeysCanBeAdded() throws {
        let scratch = try TemporaryDirectory()
        let whole = try Self.writer("b"), bare = try CheckpointCopy("b")
        try bare.edit("lyra/config.json", "\"speech_generator_type\": \"ctc\",", "")
        let own = whole.tensors(.main).filter { $0.key.hasPrefix("speech_generator.") }
        let kept = whole.tensors(.main).filter { own[$0.key] == nil }
        var floats: FloatTensors = [:]
        for (name, tensor) in kept { floats[name] = (tensor.shape, try tensor.floats()) }
        try FileManager.default.removeItem(atPath: bare.model + "/model.safetensors.index.json")
        try floats.write(safetensors: bare.model + "/model.safetensors")
        let writer = try ModelWriter(bare.model)
        #expect(writer.checkpoint.generator == nil)
        var changes = ModelChanges()
        for (name, tensor) in own { changes.set(.main, NewTensor(name, tensor)) }
        changes.configuration = [("speech_generator_type", "ctc")]
        _ = try writer.write(changes, to: scratch.path + "/made")
        let made = try ModelWriter(scratch.path + "/made")
        #expect(made.checkpoint.generator != nil && made.checkpoint.vocoder.isPresent)
        for (name, tensor) in own { #expect(try made.tensors(.main)[name]?.floats() == tensor.floats(), "\(name)") }
    }

    @Test func towersOutsideAreTakenInAndNamedSo() throws {
        let scratch = try TemporaryDirectory(), copy = try CheckpointCopy("b")
        let zoo = copy.root + "/model_zoo"
        try copy.edit("lyra/config.json", "\"model_zoo/audio/whisper-tiny\"", "\"\(zoo)/audio/whisper-tiny\"")
        try copy.edit("lyra/config.json", "\"model_zoo/vision/", "\"../model_zoo/vision/")
        _ = try ModelWriter(copy.model).write(ModelChanges(), to: scratch.path + "/made", copies: true)
        try FileManager.default.removeItem(atPath: copy.root)
        let made = try ModelWriter(scratch.path + "/made")
        #expect(made.checkpoint.configuration.speechTower == "model_zoo/audio/whisper")
        #expect(made.checkpoint.configuration.visionTower == "model_zoo/vision/Qwen2VL_ViT")
        #expect(made.checkpoint.speechNetworks.isPresent && made.checkpoint.visionNetworks.isPresent)
    }

    // MARK: Refusals and failures

    private struct Stop: Error {}

    @Test func afterAFailureNothingIsThere() throws {
        let scratch = try TemporaryDirectory()
        let writer = try Self.writer("b"), place = scratch.path + "/made"
        func changes(_ part: ModelPart, _ name: String, _ shape: [Int]) -> ModelChanges {
            var changes = ModelChanges()
            changes.set(part, NewTensor(name, shape) { throw Stop() })
            return changes
        }
        let norm = "model.norm.weight"
        #expect(throws: Stop.self) { _ = try writer.write(changes(.main, norm, [96]), to: place) }
        #expect(throws: Stop.self) { _ = try writer.write(ModelChanges(), to: place, check: { throw Stop() }) }
        expect(.argument, norm, "[96]", "[95]") { _ = try writer.write(changes(.main, norm, [95]), to: place) }
        expect(.argument, "nothing.weight") {
            _ = try writer.write(changes(.visionTower, "nothing.weight", [1]), to: place)
        }
        var quantized = changes(.main, norm, [96])
        quantized.type = .q8_0
        expect(.argument, "Q8_0") { _ = try writer.write(quantized, to: place) }
        #expect(try FileManager.default.contentsOfDirectory(atPath: scratch.path) == [])
        try Data().write(to: URL(filePath: place))
        expect(.io, place) { _ = try writer.write(ModelChanges(), to: place) }
        let file = try OneFile(Golden.path("b/lyra"), .f32)
        expect(.unsupported, file.path, "one-file") { _ = try ModelWriter(file.path) }
    }
}
