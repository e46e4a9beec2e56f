import Foundation
import Testing

@testable import LyraFormats

/// Models in several files, with the keys and names of llama.cpp's gguf-split.
@Suite struct SplitGGUFTests {
    /// Writes `m-00001-of-00003.gguf` and so on: one tensor each, the key "k" in the first.
    private func parts(count: Int = 3, total: Int? = nil, names: [String] = ["x", "y", "z"]) throws -> Folder {
        let folder = try Folder()
        for (index, name) in names.enumerated() {
            let writer = try GGUFWriter(
                path: folder.path + "/m-0000\(index + 1)-of-00003.gguf",
                metadata: [
                    ("split.no", .uint16(UInt16(index))), ("split.count", .uint16(UInt16(count))),
                    ("split.tensors.count", .int32(Int32(total ?? names.count))),
                ] + (index == 0 ? [("k", GGUFValue.string("v"))] : []),
                tensors: [TensorSpec(name: name, type: .float32, shape: [1])])
            try bytes([Float(index)]).withUnsafeBytes { try writer.write(name, $0) }
            try writer.finish()
        }
        return folder
    }

    private func open(_ folder: Folder, _ part: Int) throws -> GGUFFile {
        try GGUFFile.opening(MappedFile(path: folder.path + "/m-0000\(part)-of-00003.gguf"))
    }

    @Test(arguments: 1...3) func everyFileOfASplitModelOpensTheWhole(_ part: Int) throws {
        let folder = try parts()
        let file = try open(folder, part)
        #expect(file.names == ["x", "y", "z"] && file.names.map { file.tensor($0)?.floats } == [[0], [1], [2]])
        #expect(try file.string("k") == "v")
        #expect(file.tensor("z")?.source == folder.path + "/m-00003-of-00003.gguf")
    }

    @Test func aLinkFindsTheOtherFilesBesideItselfOrItsTarget() throws {
        let folder = try parts(), links = try Folder()
        try FileManager.default.createSymbolicLink(
            atPath: links.path + "/model.gguf", withDestinationPath: folder.path + "/m-00001-of-00003.gguf")
        #expect(try GGUFFile.opening(MappedFile(path: links.path + "/model.gguf")).names == ["x", "y", "z"])
        // As in Hugging Face's cache: every name is a link to a file of another name.
        for part in 1...3 {
            let name = "m-0000\(part)-of-00003.gguf"
            try FileManager.default.moveItem(atPath: folder.path + "/" + name, toPath: folder.path + "/blob\(part)")
            try FileManager.default.createSymbolicLink(
                atPath: links.path + "/" + name, withDestinationPath: folder.path + "/blob\(part)")
        }
        #expect(try open(links, 2).names == ["x", "y", "z"])
    }

    @Test func aMissingFileOfASplitModelIsNamed() throws {
        let folder = try parts()
        try FileManager.default.removeItem(atPath: folder.path + "/m-00002-of-00003.gguf")
        for part in [1, 3] {
            expect(.missing, folder.path + "/m-00002-of-00003.gguf", "file 2 of 3") { _ = try open(folder, part) }
        }
    }

    @Test func filesThatDoNotBelongTogetherAreRefused() throws {
        expect(.format, "split.tensors.count", "3 tensors") { _ = try open(parts(total: 4), 1) }
        expect(.format, "\"x\"", "another file") { _ = try open(parts(names: ["x", "y", "x"]), 1) }
        let swapped = try parts()
        try FileManager.default.removeItem(atPath: swapped.path + "/m-00002-of-00003.gguf")
        try FileManager.default.copyItem(
            atPath: swapped.path + "/m-00003-of-00003.gguf", toPath: swapped.path + "/m-00002-of-00003.gguf")
        expect(.format, "m-00002-of-00003.gguf", "not file 2 of 3") { _ = try open(swapped, 1) }
        let renamed = try parts()
        try FileManager.default.moveItem(
            atPath: renamed.path + "/m-00001-of-00003.gguf", toPath: renamed.path + "/model.gguf")
        expect(.format, "model.gguf", "-00001-of-00003.gguf") {
            _ = try GGUFFile.opening(MappedFile(path: renamed.path + "/model.gguf"))
        }
        expect(.format, "split.no") { _ = try open(parts(count: 2), 3) }
        expect(.format, "split.count") { _ = try open(parts(count: 65_535), 1) }
    }

    @Test func tooManyKeysOrTensorsAreRefused() throws {
        var keys = GGUFBuilder(), tensors = GGUFBuilder()
        for index in 0..<65_537 {
            keys.add("\(index)", type: 0, [1])
            tensors.add("\(index)", [0], type: 0, at: 0)
        }
        let folder = try Folder()
        for (builder, what) in [(keys, "65537 keys"), (tensors, "65537 tensors")] {
            expect(.unsupported, what) { _ = try GGUFFile(path: folder.write("m.gguf", builder.content)) }
        }
    }
}
