import Foundation
import LyraBase
import Testing

@testable import LyraFormats

@Suite struct ShardedSafetensorsTests {
    /// A folder with two shards, `x` and `y` in the first and `z` in the second, and this index.
    private func model(index: String?) throws -> Folder {
        let folder = try Folder()
        for (file, names) in [("m-1.safetensors", ["x", "y"]), ("m-2.safetensors", ["z"])] {
            let specs = names.map { TensorSpec(name: $0, type: .float32, shape: [1]) }
            let writer = try SafetensorsWriter(path: folder.path + "/" + file, tensors: specs)
            for name in names {
                try bytes([Float(name.utf8.first ?? 0)]).withUnsafeBytes { try writer.write(name, $0) }
            }
            try writer.finish()
        }
        if let index { try folder.write("model.safetensors.index.json", index.utf8) }
        return folder
    }

    @Test func tensorsComeFromTheShardsThatTheIndexNames() throws {
        let folder = try model(
            index: #"{"metadata":{"total_size":12},"weight_map":{"x":"m-1.safetensors","z":"m-2.safetensors"}}"#)
        let model = try ShardedSafetensors(directory: folder.path)
        #expect(model.names == ["x", "z"] && model.shards.count == 2)
        #expect(model.tensor("x")?.floats == [120] && model.tensor("z")?.floats == [122] && model.tensor("y") == nil)
        #expect(model.tensor("z")?.source == folder.path + "/m-2.safetensors")
    }

    @Test func aSingleFileNeedsNoIndex() throws {
        let folder = try model(index: nil)
        expect(.missing, folder.path, "model.safetensors") { _ = try ShardedSafetensors(directory: folder.path) }
        let single = try ShardedSafetensors(directory: folder.path, stem: "m-1")
        #expect(single.names == ["x", "y"])
        expect(.missing, "/nowhere") { _ = try ShardedSafetensors(directory: "/nowhere") }
    }

    @Test func anInvalidIndexIsRefused() throws {
        let open = { (index: String) in
            let folder = try model(index: index)
            try withExtendedLifetime(folder) { _ = try ShardedSafetensors(directory: folder.path) }
        }
        expect(.missing, "m-3.safetensors", "index.json") { try open(#"{"weight_map":{"x":"m-3.safetensors"}}"#) }
        expect(.format, "\"z\"", "\"m-1.safetensors\"") { try open(#"{"weight_map":{"z":"m-1.safetensors"}}"#) }
        for name in ["../m-1.safetensors", "/etc/passwd", "..", ".", "", #"a\u0000b"#, "sub/m"] {
            expect(.format, "plain file name") { try open("{\"weight_map\":{\"x\":\"\(name)\"}}") }
        }
        expect(.format, "weight_map") { try open("{}") }
        expect(.format, "weight_map", "\"x\"") { try open(#"{"weight_map":{"x":1}}"#) }
    }

    @Test func aDamagedIndexNeverCrashes() throws {
        let index = #"{"metadata":{"total_size":12},"weight_map":{"x":"m-1.safetensors","z":"m-2.safetensors"}}"#
        let folder = try model(index: nil)
        try damage(Array(index.utf8)) { path in
            let target = folder.path + "/model.safetensors.index.json"
            try? FileManager.default.removeItem(atPath: target)
            try FileManager.default.copyItem(atPath: path, toPath: target)
            do {
                return Array(try ShardedSafetensors(directory: folder.path).tensors.values)
            } catch let error as LyraError {
                #expect(error.message.contains(folder.path))
                throw LyraError(error.code, path + error.message)
            }
        }
    }
}
