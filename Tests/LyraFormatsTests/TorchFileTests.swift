import Foundation
import Testing

@testable import LyraFormats

/// make_fixtures.py wrote the fixtures with PyTorch 2.15, and the expected values with the safetensors library.
@Suite struct TorchFileTests {
    static let saved = ["saved_zip.pt", "saved_zip_protocol4.pt", "saved_legacy.pt"]

    @Test(arguments: saved) func tensorsAreReadAsSaved(_ name: String) throws {
        let found = try TorchFile(path: fixture(name)).tensors()
        let expected = try Safetensors(path: fixture("values.safetensors")).tensors
        for (name, tensor) in expected {
            let other = try #require(found[name], "\(name)")
            #expect(other.type == tensor.type && other.shape == tensor.shape && other.data == tensor.data, "\(name)")
        }
        #expect(found["module.weight"]?.floats == [0, 1, 2, 3, 4, 5] && found["module.weight"]?.shape == [2, 3])
        #expect(found["module.bias"]?.floats == [0.5, -0.5])
        #expect(found["parameter"]?.floats == [0, 1, 2, 3, 4, 5])
        #expect(found.count == expected.count + 3)
    }

    @Test(arguments: saved) func plainValuesAreReadAsSaved(_ name: String) throws {
        let plain = try #require(TorchFile(path: fixture(name)).root["plain"])
        let expected =
            #"dict([("int", int(-7)), ("long", int(1099511627776)), ("negative", int(-1099511627776)), "#
            + #"("float", float(1.5)), "#
            + #"("text", string("größe")), ("yes", bool(true)), ("no", bool(false)), ("nothing", none), "#
            + #"("list", list([int(1), int(2), list([int(3)])])), ("tuple", list([int(1), int(2), int(3), int(4)])), "#
            + #"("5", string("five"))])"#
        #expect(text(plain) == expected)
    }

    private func text(_ value: TorchValue) -> String {
        switch value {
        case .dict(let items): "dict([" + items.map { "(\"\($0.0)\", \(text($0.1)))" }.joined(separator: ", ") + "])"
        case .list(let items): "list([" + items.map(text).joined(separator: ", ") + "])"
        case .tensor(let tensor): "tensor(\(tensor.name))"
        case .int(let value): "int(\(value))"
        case .float(let value): "float(\(value))"
        case .string(let value): "string(\"\(value)\")"
        case .bool(let value): "bool(\(value))"
        case .none: "none"
        }
    }

    @Test(arguments: saved) func tensorsLieInTheMappingAndShareTheirStorage(_ name: String) throws {
        let file = try TorchFile(path: fixture(name))
        let tensors = try file.tensors()
        for tensor in tensors.values where !tensor.bytes.isEmpty {
            let start = try #require(tensor.bytes.baseAddress), map = try #require(file.file.bytes.baseAddress)
            #expect(start >= map && start + tensor.bytes.count <= map + file.file.bytes.count)
        }
        let first = try #require(tensors["views.first"]?.bytes.baseAddress)
        #expect(tensors["views.second"]?.bytes.baseAddress == first + 16)
    }

    @Test func tensorsUnderOneKeyCanBeRead() throws {
        let file = try TorchFile(path: fixture("saved_zip.pt"))
        #expect(try file.tensors(under: ["views"]).keys.sorted() == ["first", "second"])
        #expect(try file.tensors(under: ["views"])["first"]?.name == "views.first")
        expect(.missing, "saved_zip.pt", "views.third") { _ = try file.tensors(under: ["views", "third"]) }
        expect(.missing, "\"scalar.x\"") { _ = try file.tensors(under: ["scalar", "x"]) }
    }

    // make_fixtures.py checks that PyTorch reads these values.
    @Test func viewsInTheLegacyFormatAreRead() throws {
        let tensors = try TorchFile(path: fixture("legacy_views.pt")).tensors()
        #expect(tensors["a"]?.floats == [2, 3, 4] && tensors["b"]?.floats == [5, 6, 7, 8])
        #expect(tensors["all"]?.floats == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
    }

    @Test func objectsOtherThanStateDictsAreRefusedByName() throws {
        expect(.unsupported, "turned.pt", "\"turned\"", "contiguous", "[1, 3]") {
            _ = try TorchFile(path: fixture("turned.pt"))
        }
        expect(.unsupported, "module.pt", "torch.nn.modules.linear.Linear", "at byte") {
            _ = try TorchFile(path: fixture("module.pt"))
        }
        expect(.unsupported, "float8.pt", "at byte") { _ = try TorchFile(path: fixture("float8.pt")) }
        expect(.unsupported, "complex.pt", "torch.ComplexFloatStorage") {
            _ = try TorchFile(path: fixture("complex.pt"))
        }
    }

    @Test func filesOfOtherFormatsAreRefused() throws {
        let folder = try Folder()
        for content in [[], [0x80], [0x80, 2, 0x4B, 1, 0x2E], Array("PK\u{3}\u{4}".utf8), Array("hello".utf8)]
            as [[UInt8]]
        {
            expect(.format, "f.pt") { _ = try TorchFile(path: folder.write("f.pt", content)) }
        }
        var tar = [UInt8](repeating: 0, count: 512)
        tar.replaceSubrange(257..<262, with: "ustar".utf8)
        expect(.unsupported, "f.pt", "tar") { _ = try TorchFile(path: folder.write("f.pt", tar)) }
    }

    @Test(arguments: saved + ["legacy_views.pt"]) func damageNeverCrashes(_ name: String) throws {
        try damage(MappedFile.contents(path: fixture(name), limit: 50_000)) {
            Array(try TorchFile(path: $0).tensors().values)
        }
    }
}
