import Foundation
import LyraBase
import LyraTensor
import Testing

@testable import LyraFormats

@Suite struct WriterTests {
    static let specs = [
        TensorSpec(name: "b", type: .uint8, shape: [3]), TensorSpec(name: "größe \"q\"\n", type: .float64, shape: [2]),
        TensorSpec(name: "e", type: .bfloat16, shape: [0, 4]), TensorSpec(name: "s", type: .float32, shape: []),
        TensorSpec(name: "l", type: .int64, shape: [1, 2, 1]), TensorSpec(name: "h", type: .float16, shape: [5]),
    ]
    /// Bytes that differ from tensor to tensor.
    private func content(_ spec: TensorSpec) -> [UInt8] {
        (0..<(spec.type.byteCount(of: spec.shape) ?? 0)).map {
            UInt8(truncatingIfNeeded: $0 &* 31 &+ spec.name.utf8.count)
        }
    }

    private func check(_ found: [String: StoredTensor]) throws {
        #expect(found.count == Self.specs.count)
        for spec in Self.specs {
            let tensor = try #require(found[spec.name])
            #expect(tensor.type == spec.type && tensor.shape == spec.shape && tensor.data == content(spec))
        }
    }

    @Test func safetensorsAreReadAsWritten() throws {
        let folder = try Folder()
        let path = folder.path + "/m.safetensors"
        let writer = try SafetensorsWriter(path: path, tensors: Self.specs, metadata: ["format": "pt", "a": "\"b\""])
        for spec in Self.specs.reversed() { try content(spec).withUnsafeBytes { try writer.write(spec.name, $0) } }
        #expect(!folder.names.contains("m.safetensors"), "it must not be seen before it is complete")
        try writer.finish()
        #expect(folder.names == ["m.safetensors"])
        let file = try Safetensors(path: path)
        try check(file.tensors)
        // The reader skips the metadata.
        let content = try MappedFile.contents(path: path, limit: 1 << 20)
        let length = content.withUnsafeBytes { Int(UInt64(littleEndian: $0.loadUnaligned(as: UInt64.self))) }
        let header = try content[8..<8 + length].withUnsafeBytes { try JSONValue($0, source: path) }
        #expect(header["__metadata__"] == .object([("format", "pt"), ("a", "\"b\"")]))
        for tensor in file.tensors.values where !tensor.bytes.isEmpty {
            #expect(UInt(bitPattern: tensor.bytes.baseAddress) % UInt(tensor.type.size) == 0)
        }
        #expect(try SafetensorsWriter(path: path, tensors: [], metadata: [:]).finish() == ())
        #expect(try Safetensors(path: path).names == [])
    }

    @Test(arguments: [[], ["generator"], ["a", "b"]]) func torchFilesAreReadAsWritten(_ keys: [String]) throws {
        let folder = try Folder()
        let path = folder.path + "/m.pt"
        let writer = try TorchWriter(path: path, tensors: Self.specs, under: keys)
        for spec in Self.specs.reversed() { try content(spec).withUnsafeBytes { try writer.write(spec.name, $0) } }
        try writer.finish()
        #expect(folder.names == ["m.pt"])
        let file = try TorchFile(path: path)
        try check(file.tensors(under: keys))
        for range in try ZipArchive(file.file).entries.values { #expect(range.lowerBound % 64 == 0) }
    }

    // The check value of CRC-32/ISO-HDLC in the catalogues of CRCs.
    @Test func theChecksumIsCRC32() {
        #expect(Array("123456789".utf8).withUnsafeBytes(CRC32.checksum) == 0xCBF4_3926)
        #expect(CRC32.checksum(UnsafeRawBufferPointer(start: nil, count: 0)) == 0)
    }

    @Test func aWriterThatStopsLeavesNothingBehind() throws {
        let folder = try Folder()
        do {
            let writer = try SafetensorsWriter(path: folder.path + "/m", tensors: Self.specs)
            #expect(folder.names.count == 1)
            expect(.state, "\"b\"") { try writer.finish() }
            _ = try TorchWriter(path: folder.path + "/n", tensors: Self.specs)
        }
        #expect(folder.names == [])
    }

    @Test func unannouncedTensorsAndBytesAreRefused() throws {
        let folder = try Folder()
        let writer = try SafetensorsWriter(path: folder.path + "/m", tensors: [Self.specs[0]])
        let write = { (name: String, count: Int) in
            try [UInt8](repeating: 0, count: count).withUnsafeBytes { try writer.write(name, $0) }
        }
        expect(.argument, "\"x\"") { try write("x", 3) }
        expect(.argument, "\"b\"", "4 bytes") { try write("b", 4) }
        try write("b", 3)
        expect(.argument, "\"b\"") { try write("b", 3) }
        try writer.finish()
        expect(.state) { try writer.finish() }
        expect(.argument, "twice") {
            _ = try TorchWriter(path: folder.path + "/n", tensors: [Self.specs[0], Self.specs[0]])
        }
        let wide = TensorSpec(name: "w", type: .float32, shape: [1 << 62])
        expect(.argument, "\"w\"") { _ = try SafetensorsWriter(path: folder.path + "/n", tensors: [wide]) }
        expect(.argument, "\"w\"") { _ = try TorchWriter(path: folder.path + "/n", tensors: [wide]) }
        let empty = TensorSpec(name: "w", type: .float32, shape: [0, 1 << 62, 4])
        expect(.argument, "\"w\"") { _ = try TorchWriter(path: folder.path + "/n", tensors: [empty]) }
        let large = TensorSpec(name: "w", type: .uint8, shape: [1 << 32])
        expect(.unsupported, "4 GiB") { _ = try TorchWriter(path: folder.path + "/n", tensors: [large]) }
        #expect(folder.names == ["m"])
    }

    @Test func aPathThatCannotBeWrittenIsAnError() throws {
        let folder = try Folder()
        expect(.io, "/nowhere/m") { _ = try SafetensorsWriter(path: "/nowhere/m", tensors: []) }
        expect(.io, "/proc/m") { _ = try TorchWriter(path: "/proc/m", tensors: []) }
        // A directory cannot be replaced by a file.
        let writer = try SafetensorsWriter(path: folder.path, tensors: [])
        expect(.io, folder.path) { try writer.finish() }
        let siblings = try FileManager.default.contentsOfDirectory(atPath: NSTemporaryDirectory())
        let own = URL(fileURLWithPath: folder.path).lastPathComponent
        #expect(siblings.filter { $0.hasPrefix(own) } == [own])
    }

    @Test func aFullDiskIsAnErrorAndLeavesNoFile() throws {
        let folder = try Folder()
        let temporary = try folder.write("t.partial", [])
        let full = Glibc.open("/dev/full", O_WRONLY)
        #expect(full >= 0)
        let output = OutputFile(path: folder.path + "/t", temporary: temporary, descriptor: full)
        expect(.io, folder.path + "/t", "No space left") {
            try [1, 2, 3].withUnsafeBytes { try output.write($0, at: 0) }
        }
        #expect(folder.names == [])
        expect(.state) { try [1].withUnsafeBytes { try output.write($0, at: 0) } }
        expect(.state) { try output.commit() }
    }
}
