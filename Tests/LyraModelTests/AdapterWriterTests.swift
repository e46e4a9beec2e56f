import Foundation
import LyraBase
import LyraFormats
import LyraTensor
import LyraTools
import TestSupport
import Testing

@testable import LyraModel

/// Adapters that lyra writes are read back, by lyra here and by PEFT in Tests/Benchmarks/parity.py.
@Suite struct AdapterWriterTests {
    private static let module = "base_model.model.model.layers."

    /// Updates of fixture b: rank 4, but 2 for q_proj.
    private static let shapes: [(String, [Int])] = [
        (module + "0.self_attn.q_proj.lora_A.weight", [2, 96]), (module + "0.self_attn.q_proj.lora_B.weight", [96, 2]),
        (module + "5.mlp.down_proj.lora_A.weight", [4, 160]), (module + "5.mlp.down_proj.lora_B.weight", [96, 4]),
        (module + "3.input_layernorm.weight", [96]),
    ]

    private static var settings: AdapterSettings {
        var settings = AdapterSettings(rank: 4, alpha: 6)
        (settings.dropout, settings.usesRankStabilization) = (0.05, true)
        settings.targetModules = ["q_proj", "down_proj"]
        settings.rankPattern = [("q_proj", 2)]
        settings.alphaPattern = [("mlp.down_proj", 12.5)]
        settings.wholeModules = ["layers.3.input_layernorm"]
        settings.baseModel = "some/model"
        return settings
    }

    private static let updates = FloatTensors(shapes, seed: 11)
    private static let projector = FloatTensors(
        [
            ("linear1.weight", [2048, 96]), ("linear1.bias", [2048]), ("linear2.weight", [96, 2048]),
            ("linear2.bias", [96]),
        ], seed: 12)

    private static func new(_ tensors: FloatTensors) throws -> [NewTensor] {
        try tensors.sorted { $0.key < $1.key }.map { NewTensor($0.key, try Tensor($0.value.shape, $0.value.values)) }
    }

    private static func write(
        _ tensors: FloatTensors = updates, to path: String, _ type: ElementType = .float32
    ) throws {
        try AdapterWriter(directory: path, settings: settings, type: type)
            .write(new(tensors), projector: new(projector))
    }

    /// The nearest number with 8 bits of mantissa, ties to even.
    private static func bfloat16(_ value: Float) -> Float {
        let bits = value.bitPattern
        return Float(bitPattern: (bits + 0x7fff + (bits >> 16 & 1)) & 0xffff_0000)
    }

    private static func rounded(_ value: Float, to type: ElementType) -> Float {
        switch type {
        case .bfloat16: bfloat16(value)
        case .float16: Float(Float16(value))
        default: value
        }
    }

    @Test(arguments: [ElementType.float32, .bfloat16, .float16])
    func tensorsAreReadBack(_ type: ElementType) throws {
        let scratch = try TemporaryDirectory()
        let path = scratch.path + "/deep/er/speech_lora"
        try Self.write(to: path, type)
        let files = try FileManager.default.contentsOfDirectory(atPath: path).sorted()
        #expect(files == ["adapter_config.json", "adapter_model.safetensors", "non_lora_trainables.bin"])
        let prefix = "model.model.mm_speech_projector."
        for (got, wanted) in [
            (try Safetensors(path: path + "/" + files[1]).tensors, Self.updates),
            (try TorchFile(path: path + "/" + files[2]).tensors(), Self.projector.renamed { prefix + $0 }),
        ] {
            #expect(Set(got.keys) == Set(wanted.keys))
            for (name, tensor) in wanted {
                let stored = try #require(got[name])
                #expect(stored.shape == tensor.shape && stored.type == type)
                #expect(try stored.floats() == tensor.values.map { Self.rounded($0, to: type) }, "\(name)")
            }
        }
        let data = try Data(contentsOf: URL(filePath: path + "/" + files[1]))
        let length = data.prefix(8).reversed().reduce(0) { $0 << 8 | Int($1) }
        let header = try JSONSerialization.jsonObject(with: data[8..<8 + length]) as? [String: Any]
        #expect(header?["__metadata__"] as? [String: String] == ["format": "pt"])
    }

    /// The same tensors, written in the test's own way, in the checkpoint's own directory.
    @Test func theLoaderComputesWithThemAndTakesTheProjector() throws {
        let scratch = try TemporaryDirectory()
        let path = scratch.path + "/anything"
        try Self.write(to: path)
        let checkpoint = try AdapterCheckpoint("b"), other = try AdapterCheckpoint("b")
        try other.add(
            Self.updates, rank: 4, alpha: 6,
            keys: """
                "use_rslora": true, "rank_pattern": {"q_proj": 2}, "alpha_pattern": {"mlp.down_proj": 12.5}, \
                "modules_to_save": ["layers.3.input_layernorm"]
                """)
        try other.copy.open().withProjector { #expect($0 == nil) }
        var options = CheckpointOptions()
        options.adapterDirectories = [("test", path)]
        options.towers = Golden.path("b/model_zoo")
        let opened = try checkpoint.copy.open(options)
        #expect(opened.adapters == ["test"])
        #expect(try AdapterCheckpoint.logits(opened, adapter: 0) == other.logits(adapter: 0))
        try opened.withProjector {
            let projector = try #require($0)
            let values = projector.parameters.map { ($0.path, $0.value) }
            guard case .weight(let weight)? = values.first(where: { $0.0 == "linear1.weight" })?.1 else {
                Issue.record("no linear1.weight")
                return
            }
            let wanted = try #require(Self.projector["linear1.weight"]).values[288..<384]
            #expect(try weight.gather([3]).values == Array(wanted))
        }
    }

    /// What PEFT 0.21.2 wrote, key for key.
    @Test(arguments: ["plain", "pickled_rslora", "patterns", "whole_modules"])
    func theConfigurationIsPEFTs(_ name: String) throws {
        let folder = Golden.path("qwen2vl/adapters/" + name), path = folder + "/adapter_config.json"
        let wanted = try NamedBytes(name: path, bytes: MappedFile.contents(path: path, limit: 1 << 20)).json()
        #expect(try AdapterSettings(directory: folder).json == wanted)
    }

    // MARK: Refusals and failures

    @Test(arguments: [
        ("exclude_modules", "[\"q_proj\"]"), ("layers_to_transform", "[0, 1]"), ("layer_replication", "[[0, 4]]"),
        ("target_parameters", "[\"x\"]"), ("layers_pattern", "\"layers\""),
    ])
    func keysThatWouldBeLostAreRefused(_ key: String, _ value: String) throws {
        let scratch = try TemporaryDirectory(), source = Golden.path("qwen2vl/adapters/plain/adapter_config.json")
        let text = try String(contentsOfFile: source, encoding: .utf8)
        let absent = "\"\(key)\": null"
        #expect(text.contains(absent))
        try text.replacing(absent, with: "\"\(key)\": \(value)").write(
            toFile: scratch.path + "/adapter_config.json", atomically: true, encoding: .utf8)
        let error = #expect(throws: LyraError.self) { try AdapterSettings(directory: scratch.path) }
        #expect(error?.code == .unsupported && error?.message.contains(key) == true)
    }

    private struct Stop: Error {}

    /// Bytes of the files in a directory.
    private static func contents(_ path: String) throws -> [String: Data] {
        var contents: [String: Data] = [:]
        for name in try FileManager.default.contentsOfDirectory(atPath: path) {
            contents[name] = FileManager.default.contents(atPath: path + "/" + name)
        }
        return contents
    }

    @Test func aWriteThatIsGivenUpLeavesWhatWasThere() throws {
        let scratch = try TemporaryDirectory()
        var tensors = try Self.new(Self.updates)
        tensors.append(NewTensor(Self.module + "1.self_attn.q_proj.lora_A.weight", [2, 96]) { throw Stop() })
        let old = scratch.path + "/old"
        try Self.write(to: old)
        let before = try Self.contents(old)
        for path in [old, scratch.path + "/new/er"] {
            #expect(throws: Stop.self) {
                try AdapterWriter(directory: path, settings: Self.settings).write(tensors, projector: [])
            }
        }
        #expect(try Self.contents(old) == before)
        #expect(!FileManager.default.fileExists(atPath: scratch.path + "/new"))
    }

    /// A file that leads to /dev/full takes no byte.
    @Test(arguments: ["adapter_model.safetensors", "non_lora_trainables.bin", "adapter_config.json"])
    func aFullDiskLeavesTheOtherFiles(_ full: String) throws {
        let scratch = try TemporaryDirectory()
        let path = scratch.path + "/adapter"
        try Self.write(to: path)
        try FileManager.default.removeItem(atPath: path + "/" + full)
        try FileManager.default.createSymbolicLink(atPath: path + "/" + full, withDestinationPath: "/dev/full")
        func others() throws -> [String: Data] { try Self.contents(path).filter { $0.key != full } }
        let before = try others()
        #expect(before.count == 2)
        expect(.io, "No space left", full) {
            try Self.write(FloatTensors(Self.shapes, seed: 99), to: path)
        }
        #expect(try others() == before)
    }

    @Test func whatDoesNotFitTheSettingsIsRefused() throws {
        let scratch = try TemporaryDirectory()
        func refuses(
            _ name: String, _ shape: [Int], _ parts: String..., settings: AdapterSettings = Self.settings,
            type: ElementType = .float32
        ) {
            let error = lyraError {
                let tensor = NewTensor(name, try Tensor(zeros: shape))
                try AdapterWriter(directory: scratch.path + "/x", settings: settings, type: type).write([tensor])
            }
            for part in parts { #expect(error.message.contains(part), "\(error.message)") }
        }
        let q = Self.module + "0.self_attn.q_proj."
        refuses(q + "lora_A.weight", [4, 96], "q_proj.lora_A", "rank is 2")
        refuses(q + "lora_B.weight", [96, 4], "q_proj.lora_B", "rank is 2")
        refuses(q + "weight", [96, 96], "modules_to_save", "q_proj.weight")
        refuses("layers.0.self_attn.q_proj.lora_A.weight", [2, 96], "base_model.model.")
        refuses(q + "lora_A.weight", [2, 96], "Q8_0", type: .q8_0)
        var wrong = Self.settings
        wrong.rank = 0
        refuses(q + "lora_A.weight", [2, 96], "r is 0", settings: wrong)
        wrong = Self.settings
        wrong.dropout = 1
        refuses(q + "lora_A.weight", [2, 96], "lora_dropout", settings: wrong)
        #expect(!FileManager.default.fileExists(atPath: scratch.path + "/x"))
    }

    @Test func remainsOfAnotherAdapterAreNotMixedWithThisOne() throws {
        let scratch = try TemporaryDirectory()
        try Self.write(to: scratch.path)
        expect(.io, "non_lora_trainables.bin", "another") {
            try AdapterWriter(directory: scratch.path, settings: Self.settings).write(Self.new(Self.updates))
        }
        try Data("{}".utf8).write(to: URL(filePath: scratch.path + "/adapter_model.safetensors.index.json"))
        expect(.io, "index.json", "another") { try Self.write(to: scratch.path) }
    }
}

extension Checkpoint {
    /// The speech projector of the first adapter.
    fileprivate func withProjector(_ body: (SpeechProjector?) throws -> Void) throws {
        guard case .present(let speech) = speechNetworks else { return try body(nil) }
        try body(speech.adapterProjectors.first.flatMap { $0 })
    }
}

/// A directory for a test's files, removed with the last reference.
final class TemporaryDirectory {
    let path = NSTemporaryDirectory() + "lyra-directory-\(UUID().uuidString)"

    init() throws { try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true) }

    deinit { try? FileManager.default.removeItem(atPath: path) }
}
