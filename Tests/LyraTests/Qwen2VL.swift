import Foundation
import LyraFormats
import LyraMedia
import LyraModel
import LyraTensor
import LyraTools
import TestSupport

@testable import Lyra

/// The small Qwen2-VL checkpoints in Tests/Fixtures/qwen2vl, and what transformers answers with them.
enum Qwen2VL {
    static let layouts = ["published", "newer"]

    static func path(_ layout: String) -> String { Golden.path("qwen2vl/" + layout) }

    private static var answers: Safetensors {
        get throws { try Safetensors(path: Golden.path("qwen2vl/answers.safetensors")) }
    }

    private static func stored(_ name: String) throws -> StoredTensor {
        guard let stored = try answers.tensors[name] else { throw FixtureError("answers has no \(name)") }
        return stored
    }

    /// transformers' greedy tokens.
    static func tokens(_ layout: String, _ turn: String) throws -> [Int32] {
        try stored("\(layout).\(turn).ids").integers().map { Int32($0) }
    }

    /// PEFT's greedy tokens about the picture with an adapter of `published`.
    static func tokens(adapter: String) throws -> [Int32] {
        try stored("adapter.\(adapter).ids").integers().map { Int32($0) }
    }

    /// 112 × 84 pixels.
    static var picture: RGBImage {
        get throws {
            let stored = try stored("picture")
            let (height, width) = (stored.shape[0], stored.shape[1])
            return try RGBImage(copying: stored.bytes, width: width, height: height, stride: width * 3)
        }
    }

    /// A greedy session.
    static func session(_ model: Model, _ change: (inout SessionOptions) -> Void = { _ in }) throws -> Session {
        var options = SessionOptions()
        options.sampling = .greedy
        options.maxNewTokens = 12
        change(&options)
        return try Session(model, options: options)
    }
}

/// A directory for a test's files, gone with the last reference.
final class Scratch {
    let path = NSTemporaryDirectory() + "lyra-scratch-\(UUID().uuidString)"

    init() throws { try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true) }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    /// Copies a file or directory into it. → the copy's path
    func copy(_ source: String, as name: String) throws -> String {
        let target = path + "/" + name
        try FileManager.default.createDirectory(
            atPath: URL(filePath: target).deletingLastPathComponent().path, withIntermediateDirectories: true)
        try FileManager.default.copyItem(atPath: source, toPath: target)
        return target
    }

    /// Writes some tensors to a file, under new names.
    func write(_ tensors: [String: StoredTensor], as name: String) throws {
        let sorted = tensors.sorted { $0.key < $1.key }
        let writer = try SafetensorsWriter(
            path: path + "/" + name,
            tensors: sorted.map { TensorSpec(name: $0.key, type: $0.value.type, shape: $0.value.shape) })
        for (name, tensor) in sorted { try writer.write(name, tensor.bytes) }
        try writer.finish()
    }

    /// Replaces `old` by `new` in a text file.
    func edit(_ name: String, _ old: String, _ new: String) throws {
        let file = path + "/" + name
        let text = try String(contentsOfFile: file, encoding: .utf8)
        guard text.contains(old) else { throw FixtureError("\(name) does not contain \(old)") }
        try text.replacingOccurrences(of: old, with: new).write(toFile: file, atomically: true, encoding: .utf8)
    }

    /// The speech tower of fixture a, as a Whisper directory names its tensors. → its path
    func whisper(prefix: String = "model.encoder.") throws -> String {
        let folder = try copy(Golden.path("a/model_zoo/audio/whisper-tiny"), as: "whisper")
        let inside = "model.speech_tower.speech_tower."
        let tower = try ShardedSafetensors(directory: Golden.path("a/lyra")).tensors
            .filter { $0.key.hasPrefix(inside) }
            .map { (prefix + $0.key.dropFirst(inside.count), $0.value) }
        try write(Dictionary(uniqueKeysWithValues: tower), as: "whisper/model.safetensors")
        return folder
    }

    /// The reference's split of a checkpoint into the language model and its vision tower.
    func split(_ layout: String) throws -> (language: String, vision: String) {
        let language = try copy(Qwen2VL.path(layout), as: "llm")
        let vision = try copy(Qwen2VL.path(layout) + "/preprocessor_config.json", as: "vit/preprocessor_config.json")
        let tensors = try ShardedSafetensors(directory: language).tensors
        let names = tensors.keys.filter { $0.hasPrefix("visual.") }
        try write(
            Dictionary(
                uniqueKeysWithValues: tensors.filter { names.contains($0.key) }.map {
                    (String($0.key.dropFirst("visual.".count)), $0.value)
                }),
            as: "vit/model.safetensors")
        try write(tensors.filter { !names.contains($0.key) }, as: "llm/model.safetensors")
        let text = try Data(contentsOf: URL(filePath: language + "/config.json"))
        let configuration = try JSONSerialization.jsonObject(with: text) as? [String: Any]
        let own = try JSONSerialization.data(withJSONObject: configuration?["vision_config"] ?? [:])
        try own.write(to: URL(filePath: path + "/vit/config.json"))
        return (language, URL(filePath: vision).deletingLastPathComponent().path)
    }
}
