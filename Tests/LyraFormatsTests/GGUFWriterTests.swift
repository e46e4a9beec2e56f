import Foundation
import LyraTensor
import Testing

@testable import LyraFormats

@Suite struct GGUFWriterTests {
    static let types: [ElementType] = ElementType.allCases.filter { $0.ggml != nil }

    private func content(_ spec: TensorSpec) -> [UInt8] {
        (0..<(spec.type.byteCount(of: spec.shape) ?? 0)).map {
            UInt8(truncatingIfNeeded: $0 &* 31 &+ spec.name.utf8.count)
        }
    }

    private func write(_ writer: GGUFWriter, _ specs: some Sequence<TensorSpec>) throws {
        for spec in specs { try content(spec).withUnsafeBytes { try writer.write(spec.name, $0) } }
    }

    private func bytes(_ path: String) throws -> [UInt8] { try MappedFile.contents(path: path, limit: 10_000_000) }

    // MARK: The format

    // The layout of docs/gguf.md, spelled out.
    @Test func aFileSpelledOutByHandIsWrittenAndRead() throws {
        var expected: [UInt8] = Array("GGUF".utf8) + [3, 0, 0, 0]
        expected += [2, 0, 0, 0, 0, 0, 0, 0] + [2, 0, 0, 0, 0, 0, 0, 0]
        // Key "n": type 4, uint32, 258.
        expected += [1, 0, 0, 0, 0, 0, 0, 0, 0x6E] + [4, 0, 0, 0] + [2, 1, 0, 0]
        // Key "s": type 9, array; of type 8, string; two: "a" and "".
        expected += [1, 0, 0, 0, 0, 0, 0, 0, 0x73] + [9, 0, 0, 0] + [8, 0, 0, 0] + [2, 0, 0, 0, 0, 0, 0, 0]
        expected += [1, 0, 0, 0, 0, 0, 0, 0, 0x61] + [0, 0, 0, 0, 0, 0, 0, 0]
        // Tensor "w": two axes, 3 within 2; type 24, int8; at 0.
        expected += [1, 0, 0, 0, 0, 0, 0, 0, 0x77] + [2, 0, 0, 0] + [3, 0, 0, 0, 0, 0, 0, 0]
        expected += [2, 0, 0, 0, 0, 0, 0, 0] + [24, 0, 0, 0] + [0, 0, 0, 0, 0, 0, 0, 0]
        // Tensor "x": one axis of 1; type 0, float32; at 32.
        expected += [1, 0, 0, 0, 0, 0, 0, 0, 0x78] + [1, 0, 0, 0] + [1, 0, 0, 0, 0, 0, 0, 0]
        expected += [0, 0, 0, 0] + [32, 0, 0, 0, 0, 0, 0, 0]
        #expect(expected.count == 24 + 17 + 42 + 41 + 33)
        // Padding to 160, the next multiple of 32; then six bytes and 1.0, each padded to 32.
        expected += [0, 0, 0]
        expected += [1, 2, 3, 4, 5, 6] + [UInt8](repeating: 0, count: 26)
        expected += [0, 0, 0x80, 0x3F] + [UInt8](repeating: 0, count: 28)

        let folder = try Folder()
        let path = folder.path + "/m.gguf"
        let specs = [
            TensorSpec(name: "w", type: .int8, shape: [2, 3]), TensorSpec(name: "x", type: .float32, shape: [1]),
        ]
        let writer = try GGUFWriter(
            path: path, metadata: [("n", .uint32(258)), ("s", .strings(["a", ""]))], tensors: specs)
        try [Float(1)].withUnsafeBytes { try writer.write("x", $0) }
        try [UInt8]([1, 2, 3, 4, 5, 6]).withUnsafeBytes { try writer.write("w", $0) }
        try writer.finish()
        #expect(try bytes(path) == expected)

        let file = try GGUFFile(path: folder.write("hand.gguf", expected))
        #expect(file.keys == ["n", "s"] && file.metadata == ["n": .uint32(258), "s": .strings(["a", ""])])
        #expect(file.names == ["w", "x"] && file.tensor("w")?.shape == [2, 3])
        #expect(file.tensor("w")?.data == [1, 2, 3, 4, 5, 6] && file.tensor("x")?.floats == [1])
    }

    @Test func aFileOfThePeerLibraryIsRewrittenByteForByte() throws {
        let peer = try GGUFFile(path: fixture("values.gguf"))
        let specs = peer.names.compactMap { peer.tensor($0) }.map {
            TensorSpec(name: $0.name, type: $0.type, shape: $0.shape)
        }
        let folder = try Folder()
        let metadata = peer.keys.compactMap { key in peer.metadata[key].map { (key: key, value: $0) } }
        let writer = try GGUFWriter(path: folder.path + "/m", metadata: metadata, tensors: specs, alignment: 64)
        for tensor in peer.tensors.values { try writer.write(tensor.name, tensor.bytes) }
        try writer.finish()
        #expect(try bytes(folder.path + "/m") == bytes(fixture("values.gguf")))
    }

    // MARK: Round trips

    @Test func everyValueIsReadAsWritten() throws {
        let values: [GGUFValue] = [
            .uint8(.max), .int8(.min), .uint16(.max), .int16(.min), .uint32(.max), .int32(.min), .uint64(.max),
            .int64(.min), .float32(-.infinity), .float64(.leastNonzeroMagnitude), .bool(false), .bool(true),
            .string(""), .string("größe \u{0} 北京"),
            .uint8s([1, 2, 3]), .int8s([-1]), .uint16s([1, .max]), .int16s([.min]), .uint32s([7, .max]),
            .int32s([.min, 0, 1]), .uint64s([.max]), .int64s([.min, 5]), .float32s([.pi, -0.0]), .float64s([.pi]),
            .bools([false, true, true]), .strings(["", "ab", String(repeating: "c", count: 1000)]),
            .uint8s([]), .int8s([]), .uint16s([]), .int16s([]), .uint32s([]), .int32s([]), .uint64s([]), .int64s([]),
            .float32s([]), .float64s([]), .bools([]), .strings([]),
            .strings((0..<150_000).map { "token \($0)" }), .float32s((0..<150_000).map { Float($0) }),
        ]
        let metadata = values.enumerated().map { (key: "key.\($0)", value: $1) }
        let folder = try Folder()
        try GGUFWriter(path: folder.path + "/m", metadata: metadata, tensors: []).finish()
        let file = try GGUFFile(path: folder.path + "/m")
        #expect(file.keys == metadata.map(\.key))
        for (key, value) in metadata { #expect(file.metadata[key] == value, "\(key)") }
    }

    @Test(arguments: [1, 8, 32, 256, 4096]) func tensorsAreReadAsWritten(alignment: Int) throws {
        var specs: [TensorSpec] = []
        for type in Self.types {
            let block = type.blockElements
            let shapes = [[block], [3, block], [2, 1, 5 * block], [1, 2, 3, 7 * block], [0, block]]
            specs += shapes.map { TensorSpec(name: "\(type.rawValue) \($0)", type: type, shape: $0) }
        }
        specs.append(TensorSpec(name: "größe \"q\"\n", type: .float32, shape: []))
        let folder = try Folder()
        let path = folder.path + "/m"
        let writer = try GGUFWriter(path: path, metadata: [], tensors: specs, alignment: alignment)
        try write(writer, specs.reversed())
        #expect(!folder.names.contains("m"), "it must not be seen before it is complete")
        try writer.finish()
        #expect(folder.names == ["m"])
        let file = try GGUFFile(path: path)
        #expect(file.names == specs.map(\.name) && file.alignment == alignment)
        #expect(file.metadata == (alignment == 32 ? [:] : ["general.alignment": .uint32(UInt32(alignment))]))
        for spec in specs {
            let tensor = try #require(file.tensor(spec.name))
            #expect(tensor.type == spec.type && tensor.shape == spec.shape && tensor.data == content(spec))
            if !tensor.bytes.isEmpty {
                #expect(UInt(bitPattern: tensor.bytes.baseAddress) % UInt(alignment) == 0)
            }
        }
        #expect(file.file.bytes.count % alignment == 0, "ggml reads the padding behind the last tensor, too")
    }

    @Test func piecesMakeTheSameFileAsTheWhole() throws {
        let folder = try Folder()
        let specs = ["a", "b", "none"].map { TensorSpec(name: $0, type: .int8, shape: [$0 == "none" ? 0 : 1000]) }
        let whole = try GGUFWriter(path: folder.path + "/whole", metadata: [], tensors: specs)
        try write(whole, specs)
        try whole.finish()
        let pieces = try GGUFWriter(path: folder.path + "/pieces", metadata: [], tensors: specs)
        let append = { (name: String, range: Range<Int>) in
            try content(TensorSpec(name: name, type: .int8, shape: [1000])).withUnsafeBytes {
                try pieces.append(name, UnsafeRawBufferPointer(rebasing: $0[range]))
            }
        }
        try append("b", 0..<1)
        try append("a", 0..<600)
        try append("b", 1..<1)
        try append("b", 1..<999)
        expect(.argument, "\"a\"", "in part") { try content(specs[0]).withUnsafeBytes { try pieces.write("a", $0) } }
        expect(.argument, "\"a\"", "401 more", "400 of 1000") { try append("a", 0..<401) }
        try append("a", 600..<1000)
        expect(.argument, "\"a\"") { try append("a", 0..<1) }
        expect(.argument, "\"x\"") { try append("x", 0..<1) }
        try append("none", 0..<0)
        expect(.state, "1 tensors", "\"b\"") { try pieces.finish() }
        try append("b", 999..<1000)
        try pieces.finish()
        #expect(try bytes(folder.path + "/pieces") == bytes(folder.path + "/whole"))
    }

    // MARK: Refusals

    @Test func anInvalidPlanIsRefused() throws {
        let folder = try Folder()
        let plan = { (metadata: [(key: String, value: GGUFValue)], tensors: [TensorSpec], alignment: Int) in
            _ = try GGUFWriter(path: folder.path + "/m", metadata: metadata, tensors: tensors, alignment: alignment)
        }
        let spec = { (name: String, type: ElementType, shape: [Int]) in
            TensorSpec(name: name, type: type, shape: shape)
        }
        for alignment in [-32, 0, 24, 1 << 21, .max, .min] {
            expect(.argument, folder.path, "\(alignment)") { try plan([], [], alignment) }
        }
        expect(.argument, "general.alignment") { try plan([("general.alignment", .uint32(64))], [], 32) }
        expect(.argument, "general.alignment") { try plan([("general.alignment", .int32(32))], [], 32) }
        expect(.argument, "\"k\"", "twice") { try plan([("k", .bool(true)), ("k", .bool(true))], [], 32) }
        for key in ["", "größe", String(repeating: "k", count: 65_536)] {
            expect(.argument, "is no key") { try plan([(key, .bool(true))], [], 32) }
        }
        expect(.argument, "name") { try plan([], [spec("", .int8, [1])], 32) }
        expect(.argument, "name") { try plan([], [spec(String(repeating: "t", count: 65_536), .int8, [1])], 32) }
        expect(.argument, "\"t\"", "twice") { try plan([], [spec("t", .int8, [1]), spec("t", .int8, [2])], 32) }
        expect(.unsupported, "\"t\"", "U8") { try plan([], [spec("t", .uint8, [1])], 32) }
        expect(.unsupported, "\"t\"", "BOOL") { try plan([], [spec("t", .bool, [1])], 32) }
        expect(.unsupported, "\"t\"", "5 axes") { try plan([], [spec("t", .int8, [1, 1, 1, 1, 1])], 32) }
        expect(.argument, "\"t\"", "Q4_K") { try plan([], [spec("t", .q4_k, [256, 128])], 32) }
        expect(.argument, "\"t\"") { try plan([], [spec("t", .int8, [-1])], 32) }
        expect(.argument, "\"t\"") { try plan([], [spec("t", .float32, [1 << 62])], 32) }
        expect(.argument, "too large") { try plan([], [spec("t", .int8, [.max - 40])], 32) }
        expect(.argument, "too large") { try plan([], [spec("t", .int8, [1 << 62]), spec("u", .int8, [1 << 62])], 32) }
        #expect(folder.names == [])
        expect(.unsupported, "GGUF") {
            _ = try SafetensorsWriter(path: folder.path + "/s", tensors: [spec("t", .q8_0, [32])])
        }
        #expect(folder.names == [])
    }

    @Test func aWriterThatStopsLeavesNothingBehind() throws {
        let folder = try Folder()
        let specs = [TensorSpec(name: "a", type: .int8, shape: [3]), TensorSpec(name: "b", type: .int8, shape: [3])]
        do {
            let writer = try GGUFWriter(path: folder.path + "/m", metadata: [], tensors: specs)
            #expect(folder.names.count == 1)
            try write(writer, specs.prefix(1))
            expect(.argument, "\"a\"", "twice") { try write(writer, specs.prefix(1)) }
            expect(.argument, "\"b\"", "4 bytes") {
                try [UInt8]([1, 2, 3, 4]).withUnsafeBytes { try writer.write("b", $0) }
            }
            expect(.state, "\"b\"") { try writer.finish() }
        }
        #expect(folder.names == [])
        expect(.io, "/nowhere/m") { _ = try GGUFWriter(path: "/nowhere/m", metadata: [], tensors: []) }
    }

    // MARK: Full disks

    @Test func aDiskThatIsTooSmallIsAnErrorBeforeWriting() throws {
        let folder = try Folder()
        // 24 bytes of header, 33 of entry, padded to 64.
        let needed = (1 << 50) + 64
        let specs = [TensorSpec(name: "t", type: .int8, shape: [1 << 50])]
        expect(.io, folder.path + "/m", "\(needed) bytes", "free", "No space left") {
            _ = try GGUFWriter(path: folder.path + "/m", metadata: [], tensors: specs)
        }
        #expect(folder.names == [])
        let output = try OutputFile(path: folder.path + "/m")
        expect(.io, "No space left") { try output.reserve(needed) }
        expect(.state) { try output.reserve(1) }
        #expect(folder.names == [])
    }

    @Test func aDiskThatFillsUpLeavesNoFile() throws {
        let folder = try Folder()
        let temporary = try folder.write("t.partial", [])
        let full = Glibc.open("/dev/full", O_WRONLY)
        #expect(full >= 0)
        let output = OutputFile(path: folder.path + "/t", temporary: temporary, descriptor: full)
        let plan = try GGUFPlan(path: folder.path + "/t", metadata: [], tensors: [], alignment: 32)
        expect(.io, folder.path + "/t", "No space left") { _ = try GGUFWriter(output: output, plan: plan) }
        #expect(folder.names == [])
    }

    /// Runs `body` while no file of this process may grow beyond `limit` bytes.
    private func limitingFiles(to limit: Int, _ body: () throws -> Void) rethrows {
        let handler = signal(SIGXFSZ, SIG_IGN)
        var before = rlimit()
        getrlimit(__rlimit_resource_t(RLIMIT_FSIZE.rawValue), &before)
        var lower = rlimit(rlim_cur: rlim_t(limit), rlim_max: before.rlim_max)
        setrlimit(__rlimit_resource_t(RLIMIT_FSIZE.rawValue), &lower)
        defer {
            setrlimit(__rlimit_resource_t(RLIMIT_FSIZE.rawValue), &before)
            signal(SIGXFSZ, handler)
        }
        try body()
    }

    @Test func aWriteThatFailsLeavesNoFile() throws {
        let folder = try Folder()
        let specs = ["a", "b"].map { TensorSpec(name: $0, type: .int8, shape: [40 << 20]) }
        limitingFiles(to: 64 << 20) {
            expect(.io, "no room", "File too large") {
                _ = try GGUFWriter(path: folder.path + "/m", metadata: [], tensors: specs)
            }
        }
        #expect(folder.names == [])
        let writer = try GGUFWriter(path: folder.path + "/m", metadata: [], tensors: specs)
        let bytes = [UInt8](repeating: 1, count: 40 << 20)
        try bytes.withUnsafeBytes { try writer.write("a", $0) }
        #expect(folder.names.count == 1)
        limitingFiles(to: 64 << 20) {
            expect(.io, folder.path + "/m", "cannot write at byte \(64 << 20)", "File too large") {
                try bytes.withUnsafeBytes { try writer.write("b", $0) }
            }
        }
        #expect(folder.names == [])
        expect(.state) { try writer.finish() }
        #expect(folder.names == [])
    }
}
