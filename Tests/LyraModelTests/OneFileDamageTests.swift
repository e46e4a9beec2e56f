import Foundation
import LyraFormats
import LyraBase
import TestSupport
import Testing

@testable import LyraModel
@testable import LyraTools

/// Damaged one-file models give an error that names the damage, and never crash.
@Suite struct OneFileDamageTests {
    private let whole: OneFile

    init() throws { whole = try OneFile(Golden.path("b") + "/lyra", .q8_0) }

    private func expectError(_ code: LyraError.Code, _ parts: String..., from file: OneFile) {
        let error = lyraError { _ = try file.open() }
        #expect(error.code == code, "\(error.message)")
        for part in parts + [file.path] { #expect(error.message.contains(part), "\(error.message)") }
    }

    private func withBytes(_ bytes: some Sequence<UInt8>) throws -> OneFile {
        let file = try OneFile()
        try Data(bytes).write(to: URL(filePath: file.path))
        return file
    }

    @Test func truncatedFilesAreErrors() throws {
        let bytes = [UInt8](try Data(contentsOf: URL(filePath: whole.path)))
        for place in 0..<60 {
            let file = try withBytes(bytes.prefix(bytes.count * place / 60))
            let error = lyraError { _ = try file.open() }
            #expect([.format, .unsupported].contains(error.code), "\(place): \(error.message)")
        }
        #expect(try withBytes(bytes).open().speechNetworks.isPresent)
    }

    /// Most flips are in the vocabulary or in weights, where they are not detected. None causes a crash.
    @Test func flippedBytesAreErrorsOrModels() throws {
        let bytes = [UInt8](try Data(contentsOf: URL(filePath: whole.path)))
        var random = SeededGenerator(state: 7)
        var errors = 0
        for trial in 0..<120 {
            var damaged = bytes
            // The metadata and the list of tensors are at the beginning.
            let end = trial % 3 == 0 ? bytes.count : bytes.count / 8
            for _ in 0..<4 {
                damaged[Int.random(in: 0..<end, using: &random)] ^= UInt8.random(in: 1...255, using: &random)
            }
            do {
                _ = try withBytes(damaged).open()
            } catch let error as LyraError {
                errors += 1
                #expect(!error.message.isEmpty)
            }
        }
        #expect(errors > 20)
    }

    @Test func missingTextsAreNamed() throws {
        for name in ["config.json", "vocab.json", "vocoder/config.json", "adapter.0/adapter_config.json"] {
            let file = try whole.changed(metadata: { $0["lyra.file." + name] = nil })
            expectError(.missing, "lyra.file." + name, from: file)
        }
    }

    @Test func missingTensorsAreNamed() throws {
        expectError(.missing, "model.norm.weight", from: try whole.changed(keeping: { $0 != "output_norm.weight" }))
        expectError(
            .missing, "layers.1.fc2.weight",
            from: try whole.changed(keeping: { $0 != "speech_tower.layers.1.fc2.weight" }))
        expectError(.format, "no tensors", from: try whole.changed(keeping: { !$0.hasPrefix("adapter.1.blk.") }))
    }

    @Test func tooManyAdaptersAreRefused() throws {
        let names = [String](repeating: "speech", count: OneFileSource.mostAdapters + 1)
        expectError(
            .format, OneFileKeys.adapters, "257",
            from: try whole.changed(metadata: { $0[OneFileKeys.adapters] = .strings(names) }))
    }

    @Test(arguments: ["blk.03.attn_q.weight", "blk.+3.attn_q.bias", "adapter.0.blk.00.attn_q.weight.lora_a"])
    func anotherSpellingOfALayerIsRefusedByName(_ name: String) throws {
        expectError(.unsupported, name, "unknown", from: try whole.adding(name, [1]))
    }

    /// The greatest number of adapters, each with tensors of its own. Opening takes one pass over the names for all.
    @Test func theGreatestNumberOfAdaptersIsOpened() throws {
        let count = OneFileSource.mostAdapters, file = try GGUFFile(path: whole.path)
        let names = (0..<count).map { "adapter\($0)" }
        let config = try #require(try file.string("lyra.file.adapter.0/adapter_config.json"))
        let first = file.names.filter { $0.hasPrefix("adapter.0.blk.0.") }
        let tensors =
            file.names.filter { !$0.hasPrefix("adapter.") }.map { ($0, $0) }
            + (0..<count).flatMap { index in
                first.map { ("adapter.\(index)." + $0.dropFirst("adapter.0.".count), $0) }
            }
        var metadata = file.metadata.filter { !$0.key.hasPrefix("lyra.file.adapter.") }
        metadata[OneFileKeys.adapters] = .strings(names)
        for index in 0..<count { metadata["lyra.file.adapter.\(index)/adapter_config.json"] = .string(config) }
        let copy = try OneFile()
        let writer = try GGUFWriter(
            path: copy.path, metadata: metadata.sorted { $0.key < $1.key }.map { ($0.key, $0.value) },
            tensors: try tensors.map { name, source in
                let tensor = try #require(file.tensor(source))
                return TensorSpec(name: name, type: tensor.type, shape: tensor.shape)
            })
        for (name, source) in tensors { try writer.write(name, #require(file.tensor(source)).bytes) }
        try writer.finish()
        #expect(try copy.open().adapters == names)
    }

    @Test func aContradictingConfigurationIsAnErrorThatNamesTheTensor() throws {
        let file = try whole.changed(metadata: { metadata in
            guard case .string(let text)? = metadata["lyra.file.config.json"] else { return }
            metadata["lyra.file.config.json"] = .string(
                text.replacingOccurrences(of: "\"num_key_value_heads\": 3", with: "\"num_key_value_heads\": 6"))
        })
        expectError(.format, "blk.0.attn_k.weight", "[48, 96]", "[96, 96]", from: file)
    }

    @Test func axesWithAnotherNumberOfElementsAreRefused() throws {
        let key = "lyra.shape.vision_tower.patch_embed.proj.weight"
        for shape in [[32, 3, 2, 14], [0, 3, 2, 14, 14], [-32, -3, 2, 14, 14], [Int64.max, 3, 2, 14, 14]] as [[Int64]] {
            expectError(.format, key, from: try whole.changed(metadata: { $0[key] = .int64s(shape) }))
        }
        expectError(.format, "patch_embed", from: try whole.changed(metadata: { $0[key] = nil }))
    }

    /// The rows of a quantized convolution are whole blocks: its first axis is the file's.
    @Test func axesThatSplitAQuantizedRowAreRefused() throws {
        let quantized = try OneFile(Golden.path("b") + "/lyra", .q8_0)
        let key = "lyra.shape.vocoder.ups.1.weight_v"
        let tensor = try #require(try GGUFFile(path: quantized.path).tensor("vocoder.ups.1.weight_v"))
        let (rows, columns) = (Int64(tensor.shape[0]), Int64(tensor.shape[1]))
        for shape in [[columns, rows], [rows * 2, columns / 2], [rows, columns / 8, 9]] {
            expectError(.format, key, from: try quantized.changed(metadata: { $0[key] = .int64s(shape) }))
        }
    }

    @Test func otherModelsAreRefusedWithAReason() throws {
        expectError(.unsupported, "version 2", from: try whole.changed(metadata: { $0["lyra.version"] = .uint32(2) }))
        expectError(
            .unsupported, "llama", "lyra convert",
            from: try whole.changed(metadata: {
                $0["lyra.version"] = nil
                $0["general.architecture"] = .string("llama")
            }))
        expectError(.format, "lyra.version", from: try whole.changed(metadata: { $0["lyra.version"] = .string("1") }))
        expectError(.format, "not a GGUF file", from: try withBytes("{\"a\": 1}".utf8))
        expectError(.format, "not a GGUF file", from: try withBytes([]))
        let language = try OneFile(Golden.path("b") + "/lyra", .q8_0, scope: .language)
        for key in ["tokenizer.ggml.tokens", "tokenizer.ggml.merges", "qwen2vl.block_count"] {
            expectError(.missing, key, from: try language.changed(metadata: { $0[key] = nil }))
        }
        expectError(
            .unsupported, "deepseek",
            from: try language.changed(metadata: { $0["tokenizer.ggml.pre"] = .string("deepseek") }))
        expectError(
            .format, "qwen2vl.block_count",
            from: try language.changed(metadata: { $0["qwen2vl.block_count"] = .string("six") }))
        expectError(
            .format, "num_hidden_layers",
            from: try language.changed(metadata: { $0["qwen2vl.block_count"] = .uint32(4_000_000_000) }))
    }

    /// Scaled positions and missing numbers are refused.
    @Test func scaledPositionsAreRefused() throws {
        let language = try OneFile(Golden.path("b") + "/lyra", .q8_0, scope: .language)
        func changed(_ values: [String: GGUFValue?]) throws -> OneFile {
            try language.changed(metadata: { for (key, value) in values { $0["qwen2vl." + key] = value } })
        }
        for (type, factor) in [("none", 4), ("linear", 1), ("linear", 0)] as [(String, Float)] {
            _ = try changed(["rope.scaling.type": .string(type), "rope.scaling.factor": .float32(factor)]).open()
        }
        _ = try changed(["rope.scaling.type": .string("linear")]).open()
        for (type, factor) in [("yarn", 4), ("yarn", 1), ("longrope", 1), ("\u{1B}[2Jx", 1)] as [(String, Float)] {
            expectError(
                .unsupported, "rope.scaling", type == "yarn" ? "\"yarn\"" : "\"",
                from: try changed(["rope.scaling.type": .string(type), "rope.scaling.factor": .float32(factor)]))
        }
        expectError(
            .unsupported, "linear", "by 4",
            from: try changed(["rope.scaling.type": .string("linear"), "rope.scaling.factor": .float32(4)]))
        for key in ["rope.scaling.factor", "rope.scale_linear"] {
            expectError(.unsupported, "rope.scaling", "by 2", from: try changed([key: .float32(2)]))
        }
        for key in ["rope.dimension_sections", "attention.layer_norm_rms_epsilon"] {
            expectError(.missing, key, from: try changed([key: nil]))
        }
        #expect(try changed(["rope.freq_base": nil]).open().configuration.language.ropeTheta == 10_000)
    }

    /// Messages contain neither control characters nor long texts of a file.
    @Test func textsInMessagesAreEscapedAndShortened() throws {
        let strange = "\u{1B}[2J\n" + String(repeating: "x", count: 1 << 16)
        let language = try OneFile(Golden.path("b") + "/lyra", .q8_0, scope: .language)
        let adapters = try whole.changed(
            metadata: { metadata in
                guard case .string(let text)? = metadata["lyra.file.config.json"] else { return }
                let name = String(repeating: "a/", count: 1 << 16) + "\\u001b"
                metadata["lyra.file.config.json"] = .string(
                    text.replacingOccurrences(of: "\"model_zoo/audio/whisper-tiny\"", with: "\"\(name)\""))
            }, keeping: { !$0.hasPrefix("speech_tower.") })
        var options = CheckpointOptions()
        options.towers = adapters.folder
        let files = [
            try language.changed(metadata: { $0["general.architecture"] = .string(strange) }),
            try language.changed(metadata: { $0["tokenizer.ggml.model"] = .string(strange) }),
            try language.changed(metadata: { $0["tokenizer.ggml.pre"] = .string(strange) }), adapters,
        ]
        for file in files {
            let error = lyraError { _ = try file.open(options).speechNetworks.get() }
            #expect([.unsupported, .missing].contains(error.code), "\(error.message)")
            #expect(error.message.utf8.count < 1000 && !error.message.utf8.contains { $0 < 0x20 }, "\(error.message)")
            #expect(file === adapters || error.message.contains("\\u{1B}[2J\\nxxx"), "\(error.message)")
        }
    }

    /// Towers that a file lacks, or the configurations of towers inside it (a's), are found as for a directory. They do
    /// not replace parts that the file has.
    @Test(arguments: ["a", "b"]) func theGivenTowersReplaceMissingParts(_ name: String) throws {
        let folder = try OneFile()
        try FileManager.default.copyItem(atPath: Golden.path(name) + "/lyra", toPath: folder.folder + "/lyra")
        let bare = try OneFile(folder.folder + "/lyra", .bf16)
        let without = try bare.open()
        #expect(!without.speechNetworks.isPresent && !without.visionNetworks.isPresent && !without.vocoder.isPresent)
        for reason in [
            lyraError { _ = try without.speechNetworks.get() }, lyraError { _ = try without.visionNetworks.get() },
        ] {
            #expect(reason.code == .missing && reason.message.hasPrefix(bare.path + ": the "), "\(reason.message)")
        }
        var options = CheckpointOptions()
        options.towers = Golden.path(name) + "/model_zoo"
        let with = try bare.open(options)
        #expect(with.speechNetworks.isPresent && with.visionNetworks.isPresent && with.vocoder.isPresent)
        #expect(with.soundNetworks.isPresent)
        // The next conversion is complete.
        let completed = try OneFile(bare.path, .bf16, options: options).open()
        #expect(completed.speechNetworks.isPresent && completed.visionNetworks.isPresent && completed.vocoder.isPresent)
        #expect(try whole.open(options).inventory.allSatisfy { $0.source == whole.path })
    }

    @Test func anInterruptedConversionLeavesNoFile() throws {
        let target = try OneFile()
        let converter = try ModelConverter(
            path: Golden.path("a") + "/lyra", options: CheckpointOptions(), recipe: .q8_0)
        #expect(throws: LyraError(.state, "interrupted")) {
            _ = try converter.write(to: target.path) { done, total in
                if done > total / 2 { throw LyraError(.state, "interrupted") }
            }
        }
        #expect(try FileManager.default.contentsOfDirectory(atPath: target.folder) == [])
        expect(.io, "directory") { _ = try converter.write(to: target.folder) }
        let summary = try converter.write(to: target.path)
        #expect(summary.unused == [] && summary.tensors > 300 && summary.bytesWritten < summary.bytesRead)
        #expect(try FileManager.default.contentsOfDirectory(atPath: target.folder) == ["model.gguf"])
    }
}
