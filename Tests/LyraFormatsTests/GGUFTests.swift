import Foundation
import LyraBase
import LyraTensor
import Testing

@testable import LyraFormats

@Suite struct GGUFTests {
    private func open(_ content: [UInt8]) throws -> GGUFFile {
        let folder = try Folder()
        return try GGUFFile(path: folder.write("m.gguf", content))
    }

    private func open(_ builder: GGUFBuilder) throws -> GGUFFile { try open(builder.content) }

    /// A file with one key; the value's bytes follow its type.
    private func open(_ key: String = "k", type: UInt32, _ value: [UInt8]) throws -> GGUFFile {
        var builder = GGUFBuilder()
        builder.add(key, type: type, value)
        return try open(builder)
    }

    // MARK: Reading

    // The package gguf wrote the file; make_gguf.py has the numbers.
    @Test func metadataOfThePeerLibraryIsReadAsWritten() throws {
        let file = try GGUFFile(path: fixture("values.gguf"))
        #expect(file.version == 3 && file.alignment == 64 && file.keys.count == 26)
        #expect(file.keys.prefix(3) == ["general.architecture", "general.alignment", "scalar.uint8"])
        let expected: [String: GGUFValue] = [
            "general.architecture": .string("lyra"), "general.alignment": .uint32(64),
            "scalar.uint8": .uint8(200), "scalar.int8": .int8(-100), "scalar.uint16": .uint16(60_000),
            "scalar.int16": .int16(-30_000), "scalar.uint32": .uint32(4_000_000_000),
            "scalar.int32": .int32(-2_000_000_000), "scalar.uint64": .uint64(1 << 63), "scalar.int64": .int64(-1 << 62),
            "scalar.float32": .float32(0.1), "scalar.float64": .float64(0.1), "scalar.bool": .bool(true),
            "scalar.string": .string("größe\n"),
            "array.uint8": .uint8s([0, 255]), "array.int8": .int8s([-128, 127]), "array.uint16": .uint16s([0, 65_535]),
            "array.int16": .int16s([-32_768, 32_767]), "array.uint32": .uint32s([0, .max]),
            "array.int32": .int32s([.min, .max]), "array.uint64": .uint64s([0, 1 << 62]),
            "array.int64": .int64s([-1 << 62, 1 << 62]), "array.float32": .float32s([1.5, -0.25, .infinity]),
            "array.float64": .float64s([0.1, -1e300]), "array.bool": .bools([true, false, true]),
            "array.string": .strings(["a", "", "Ġhello", "北京"]),
        ]
        #expect(file.metadata == expected)
        #expect(Set(file.keys) == Set(expected.keys))
    }

    // The same file. The bytes of F16 and integers were worked out by hand.
    @Test func tensorsOfThePeerLibraryAreReadAsWritten() throws {
        let file = try GGUFFile(path: fixture("values.gguf"))
        #expect(file.names.count == 16 && file.names.first == "types.float64" && file.names.last == "shapes.four")
        let types = Set(file.tensors.values.map(\.type))
        #expect(types == Set(ElementType.allCases.filter { $0.ggml != nil }))
        for name in ["float64", "float32", "float16", "bfloat16"] {
            let tensor = try #require(file.tensor("types." + name))
            #expect(tensor.shape == [2, 3])
            #expect(try tensor.floats() == [1, -2, 3, 4, 5, -6])
        }
        #expect(file.tensor("types.float16")?.data == [0, 0x3C, 0, 0xC0, 0, 0x42, 0, 0x44, 0, 0x45, 0, 0xC6])
        #expect(file.tensor("types.int8")?.data == [1, 254, 3, 4, 5, 250])
        #expect(file.tensor("types.int16")?.data == [1, 0, 254, 255, 3, 0, 4, 0, 5, 0, 250, 255])
        #expect(file.tensor("types.int64")?.data.prefix(9) == [1, 0, 0, 0, 0, 0, 0, 0, 254])
        let steps: [Float] = (0..<32).map { Float((-127 + 254 / 31 * Double($0)).rounded()) }
        let twice: [Float] = steps.reversed().map { 2 * $0 }
        #expect(try file.tensor("blocks.q8_0")?.floats() == steps + twice)
        let nibbles: [Float] = (0..<32).map { Float($0 % 16 - 7) }
        let threefold: [Float] = nibbles.map { -3 * $0 }
        #expect(try file.tensor("blocks.q4_0")?.floats() == nibbles + threefold)
        #expect(file.tensor("blocks.q8_0")?.shape == [2, 32] && file.tensor("blocks.q8_0")?.count == 64)
        for (name, size) in [("blocks.q4_k", 144), ("blocks.q6_k", 210)] {
            #expect(file.tensor(name)?.shape == [2, 256])
            #expect(file.tensor(name)?.data == (0..<2 * size).map { UInt8($0 % 256) })
        }
        #expect(file.tensor("shapes.scalar")?.shape == [] && file.tensor("shapes.scalar")?.floats == [1.5])
        #expect(file.tensor("shapes.odd")?.data == [0, 1, 2, 3, 4, 5, 6])
        #expect(file.tensor("shapes.three")?.shape == [2, 3, 4])
        #expect(file.tensor("shapes.three")?.floats == (0..<24).map { Float($0) })
        #expect(file.tensor("shapes.four")?.shape == [1, 2, 1, 3])
        #expect(file.tensor("absent") == nil)
    }

    @Test func tensorsOutliveTheReader() throws {
        let tensor = try #require(GGUFFile(path: fixture("values.gguf")).tensor("shapes.scalar"))
        #expect(tensor.floats == [1.5])
    }

    @Test func valuesHaveTheRequestedType() throws {
        let file = try GGUFFile(path: fixture("values.gguf"))
        #expect(try file.string("scalar.string") == "größe\n" && file.bool("scalar.bool") == true)
        #expect(try file.int("scalar.uint8") == 200 && file.int("scalar.int64") == -1 << 62)
        #expect(try file.int("scalar.uint16") == 60_000 && file.int("scalar.int32") == -2_000_000_000)
        #expect(try file.double("scalar.float64") == 0.1 && file.double("scalar.float32") == Double(Float(0.1)))
        #expect(try file.strings("array.string")?.count == 4)
        #expect(try file.ints("array.int8") == [-128, 127] && file.ints("array.uint64") == [0, 1 << 62])
        #expect(try file.doubles("array.float32") == [1.5, -0.25, .infinity])
        #expect(try file.doubles("array.float64") == [0.1, -1e300])
        #expect(try file.string("absent") == nil && file.int("absent") == nil && file.double("absent") == nil)
        #expect(try file.bool("absent") == nil && file.strings("absent") == nil && file.ints("absent") == nil)
        #expect(try file.doubles("absent") == nil)
        expect(.format, "values.gguf", "\"scalar.int8\"", "a string", "int8") { _ = try file.string("scalar.int8") }
        expect(.format, "\"scalar.uint64\"", "63 bits") { _ = try file.int("scalar.uint64") }
        expect(.format, "\"scalar.bool\"") { _ = try file.int("scalar.bool") }
        expect(.format, "\"scalar.int8\"") { _ = try file.double("scalar.int8") }
        expect(.format, "\"scalar.int8\"") { _ = try file.bool("scalar.int8") }
        expect(.format, "\"scalar.string\"", "an array of strings") { _ = try file.strings("scalar.string") }
        expect(.format, "\"array.string\"") { _ = try file.string("array.string") }
        expect(.format, "\"array.float32\"") { _ = try file.ints("array.float32") }
        expect(.format, "\"array.int32\"") { _ = try file.doubles("array.int32") }
        let large = try open(
            type: 9, GGUFBuilder.number(UInt32(10)) + [1, 0, 0, 0, 0, 0, 0, 0] + [0, 0, 0, 0, 0, 0, 0, 128])
        expect(.format, "\"k\"", "63 bits", "uint64") { _ = try large.ints("k") }
    }

    // MARK: Refusals

    @Test func anInvalidHeaderIsRefused() throws {
        expect(.format, "m.gguf", "GGUF") { _ = try open([]) }
        expect(.format, "GGUF") { _ = try open(Array("GGU".utf8)) }
        expect(.format, "GGUF") { _ = try open(Array("GGML\u{3}\0\0\0".utf8)) }
        expect(.format, "truncated") { _ = try open(Array("GGUF\u{3}\0".utf8)) }
        #expect(try open(GGUFBuilder(version: 2)).version == 2)
        #expect(try open(GGUFBuilder(padding: 0)).names == [])
        expect(.unsupported, "version 1") { _ = try open(GGUFBuilder(version: 1)) }
        expect(.unsupported, "version 4") { _ = try open(GGUFBuilder(version: 4)) }
        expect(.unsupported, "m.gguf", "big-endian") { _ = try open(GGUFBuilder(version: 0x0300_0000)) }
        for count in [1, 2, 1 << 61, 1 << 63, UInt64.max] {
            expect(.format, "\(count) tensors") { _ = try open(GGUFBuilder(tensorCount: count, padding: 8)) }
            expect(.format, "\(count) keys") { _ = try open(GGUFBuilder(keyCount: count, padding: 8)) }
        }
        // An entry of zero bytes only, of the least size of an entry, is invalid.
        expect(.format, "0 bytes") { _ = try open(GGUFBuilder(tensorCount: 1, padding: 32)) }
        expect(.format, "0 bytes") { _ = try open(GGUFBuilder(keyCount: 1, padding: 32)) }
    }

    /// The limit keeps each text in the metadata within the size limit of a JSON file.
    @Test func aHeaderBeyondTheLimitIsRefusedAndNotWritten() throws {
        let folder = try Folder(), length = GGUFReader.headerLimit
        #expect(length == JSONFile.sizeLimit)
        let start = Array(GGUFBuilder(tensorCount: 0, keyCount: 1, padding: 0).content)
        let path = try folder.write(
            "m.gguf", start + GGUFBuilder.text("k") + GGUFBuilder.number(UInt32(8)) + GGUFBuilder.number(UInt64(length))
        )
        // Sparse: the text is zeros.
        #expect(truncate(path, off_t(length + 100)) == 0)
        expect(.format, "\"k\"", "\(length) bytes") { _ = try GGUFFile(path: path) }
        let text = GGUFValue.string(String(repeating: " ", count: length))
        expect(.unsupported, "new.gguf", "at most \(length)") {
            _ = try GGUFWriter(path: folder.path + "/new.gguf", metadata: [("k", text)], tensors: [])
        }
        #expect(folder.names == ["m.gguf"])
    }

    @Test func readingCanBeInterrupted() throws {
        var strings = GGUFBuilder()
        strings.add(
            "k", type: 9,
            GGUFBuilder.number(UInt32(8)) + GGUFBuilder.number(UInt64(1 << 16)) + [UInt8](repeating: 0, count: 8 << 16))
        var keys = GGUFBuilder(), tensors = GGUFBuilder()
        for index in 0..<1 << 13 {
            keys.add("k\(index)", type: 7, [1])
            tensors.add("t\(index)", [], type: 0, at: 0, axes: 0)
        }
        let folder = try Folder()
        // Counts the checks of a whole reading. All tensors lie at 0, which is refused only after their list is read.
        for (builder, most) in [(strings, 1 << 16), (keys, 1 << 13), (tensors, 1 << 13)] {
            let file = try MappedFile(path: folder.write("m.gguf", builder.content))
            var checkCount = 0
            do { _ = try GGUFFile(file: file) { checkCount += 1 } } catch let error as LyraError {
                #expect(error.message.contains("overlaps") || error.message.contains("do not fit"), "\(error.message)")
            }
            #expect((most >> 10...most >> 8).contains(checkCount), "\(checkCount)")
            var left = checkCount / 2
            expect(.state, "interrupted") {
                _ = try GGUFFile(file: file) {
                    left -= 1
                    if left == 0 { throw LyraError(.state, "interrupted") }
                }
            }
        }
    }

    @Test func anInvalidKeyOrValueIsRefused() throws {
        let number = GGUFBuilder.number(UInt32(7))
        #expect(try open(type: 4, number).int("k") == 7)
        #expect(try open(String(repeating: "k", count: 65_535), type: 4, number).keys.first?.count == 65_535)
        expect(.format, "65536 bytes") { _ = try open(String(repeating: "k", count: 65_536), type: 4, number) }
        expect(.format, "0 bytes") { _ = try open("", type: 4, number) }
        expect(.format, "\"k\"", "13") { _ = try open(type: 13, number) }
        expect(.format, "\"k\"", "neither true nor false") { _ = try open(type: 7, [2]) }
        var twice = GGUFBuilder()
        twice.add("k", type: 7, [1])
        twice.add("k", type: 7, [1])
        expect(.format, "\"k\"", "twice") { _ = try open(twice) }
        // Not UTF-8: a lone continuation byte.
        expect(.format, "UTF-8") { _ = try open(type: 8, GGUFBuilder.number(UInt64(1)) + [0x80]) }
        for length in [1 << 20, 1 << 63, UInt64.max] {
            expect(.format, "\"k\"", "\(length) bytes") {
                _ = try open(type: 8, GGUFBuilder.text("text", length: length))
            }
        }
    }

    @Test func anInvalidArrayIsRefused() throws {
        let array = { (type: UInt32, count: UInt64, bytes: Int) in
            GGUFBuilder.number(type) + GGUFBuilder.number(count) + [UInt8](repeating: 0, count: bytes)
        }
        for type in UInt32(0)...12 where type != 9 {
            for count in [1 << 20, 1 << 61, 1 << 62, 1 << 63, UInt64.max] {
                expect(.format, "\(count) ", "\"k\"") { _ = try open(type: 9, array(type, count, 64)) }
            }
        }
        #expect(try open(type: 9, array(4, 0, 0)).ints("k") == [])
        expect(.unsupported, "\"k\"", "array of arrays") { _ = try open(type: 9, array(9, 1, 64)) }
        expect(.format, "\"k\"", "13") { _ = try open(type: 9, array(13, 1, 64)) }
        var short = GGUFBuilder(padding: 0)
        short.add("k", type: 9, [4, 0, 0])
        expect(.format, "truncated") { _ = try open(short) }
        expect(.format, "\"k\"", "neither") { _ = try open(type: 9, array(7, 2, 1) + [2]) }
    }

    @Test func anInvalidAlignmentIsRefused() throws {
        let alignment = { (value: UInt32) in
            try open("general.alignment", type: 4, GGUFBuilder.number(value)).alignment
        }
        #expect(try open(GGUFBuilder()).alignment == 32)
        for value in [1, 8, 64, 1 << 20] as [UInt32] { #expect(try alignment(value) == Int(value)) }
        for value in [0, 24, 1 << 21, 1 << 31, .max] as [UInt32] {
            expect(.format, "general.alignment", "\(value)") { _ = try alignment(value) }
        }
        expect(.format, "general.alignment") {
            _ = try open("general.alignment", type: 5, GGUFBuilder.number(UInt32(32)))
        }
        expect(.format, "general.alignment") {
            _ = try open("general.alignment", type: 10, GGUFBuilder.number(UInt64(32)))
        }
    }

    /// A file with one tensor "t" and the given number of data bytes.
    private func one(
        _ sizes: [UInt64], type: UInt32 = 24, at offset: UInt64 = 0, axes: UInt32? = nil, data: Int = 64,
        name: String = "t"
    ) throws -> GGUFFile {
        var builder = GGUFBuilder(data: (0..<data).map { UInt8($0) })
        builder.add(name, sizes, type: type, at: offset, axes: axes)
        return try open(builder)
    }

    @Test func aTensorWithInvalidSizesIsRefused() throws {
        #expect(try one([3, 2]).tensor("t")?.shape == [2, 3])
        #expect(try one([32], at: 32).tensor("t")?.data == (32..<64).map { UInt8($0) })
        #expect(try one([0, 5], at: 64).tensor("t")?.shape == [5, 0])
        expect(.format, "\"t\"", "5 axes") { _ = try one([1, 1, 1, 1, 1]) }
        expect(.format, "\"t\"", "\(UInt32.max) axes") { _ = try one([1], axes: .max) }
        expect(.format, "\"t\"", "33 bytes") { _ = try one([33], at: 32) }
        expect(.format, "\"t\"", "multiple") { _ = try one([1], at: 33) }
        for offset in [96, 1 << 62, 1 << 63, UInt64.max - 31] {
            expect(.format, "\"t\"", "\(offset)") { _ = try one([1], at: offset) }
            expect(.format, "\"t\"", "\(offset)") { _ = try one([0], at: offset) }
        }
        // 2^32 · 2^32, 2^61 · 8 and 2^58 · 34 / 32 … wrap.
        expect(.format, "\"t\"", "shape") { _ = try one([1 << 32, 1 << 32]) }
        expect(.format, "\"t\"", "shape") { _ = try one([1 << 61], type: 28) }
        expect(.format, "\"t\"", "shape") { _ = try one([1 << 63]) }
        expect(.format, "\"t\"", "shape") { _ = try one([.max, 1]) }
        expect(.format, "\"t\"", "shape") { _ = try one([4, 1 << 62, 0]) }
        expect(.format, "\"t\"", "bytes") { _ = try one([1 << 62], type: 2) }
        // A quantization block of Q8_0 has 32 elements of the innermost axis.
        expect(.format, "\"t\"", "Q8_0") { _ = try one([16, 2], type: 8) }
        #expect(try one([32, 1], type: 8).tensor("t")?.bytes.count == 34)
        expect(.format, "0 bytes") { _ = try one([1], name: "") }
        expect(.format, "65536 bytes") { _ = try one([1], name: String(repeating: "t", count: 65_536)) }
    }

    @Test func aTensorOfAnUnknownTypeIsRefusedByName() throws {
        expect(.unsupported, "m.gguf", "\"t\"", "Q5_K", "Q8_0, Q4_0, Q4_K, Q6_K") { _ = try one([256], type: 13) }
        expect(.unsupported, "\"t\"", "IQ4_XS") { _ = try one([256], type: 23) }
        expect(.format, "\"t\"", "5") { _ = try one([256], type: 5) }
        expect(.format, "\"t\"", "\(UInt32.max)") { _ = try one([256], type: .max) }
    }

    @Test func tensorsMayLieAnywhereWithoutOverlap() throws {
        let two = { (first: UInt64, count: UInt64, second: UInt64) in
            var builder = GGUFBuilder(data: (0..<128).map { UInt8($0) })
            builder.add("a", [count], type: 24, at: first)
            builder.add("b", [32], type: 24, at: second)
            return try open(builder)
        }
        let file = try two(96, 1, 32)
        #expect(file.tensor("a")?.data == [96] && file.tensor("b")?.data == (32..<64).map { UInt8($0) })
        #expect(file.names == ["a", "b"])
        expect(.format, "\"b\"", "overlaps", "\"a\"") { _ = try two(0, 33, 32) }
        expect(.format, "overlaps") { _ = try two(64, 32, 64) }
        expect(.format, "\"a\"", "overlaps", "\"b\"") { _ = try two(32, 1, 32) }
        #expect(try two(32, 0, 32).tensor("a")?.count == 0)
        var twice = GGUFBuilder(data: [UInt8](repeating: 0, count: 64))
        for offset in [0, 32] as [UInt64] { twice.add("t", [1], type: 24, at: offset) }
        expect(.format, "\"t\"", "twice") { _ = try open(twice) }
    }

    // MARK: Damage

    private func touch(_ file: GGUFFile) {
        for tensor in file.tensors.values {
            _ = tensor.bytes.reduce(0) { $0 &+ Int($1) }
            #expect(tensor.type.byteCount(of: tensor.shape) == tensor.bytes.count)
        }
    }

    /// Whether the file is refused. The error must name it.
    private func refused(_ path: String, _ what: String) -> Bool {
        do {
            touch(try GGUFFile(path: path))
            return false
        } catch let error as LyraError {
            #expect(error.message.contains(path), "\(what): \(error.message)")
        } catch {
            Issue.record("\(what): \(error)")
        }
        return true
    }

    // The file is changed in place, because making thousands of files is slow on some file systems.
    @Test func aTruncatedFileIsRefusedWhereverItEnds() throws {
        let folder = try Folder()
        let original = try MappedFile.contents(path: fixture("values.gguf"), limit: 10_000)
        let path = try folder.write("damaged.gguf", original)
        // The last tensor's 12 bytes are padded to 64.
        let end = original.count - 52
        for count in (0...original.count).reversed() {
            #expect(truncate(path, off_t(count)) == 0)
            #expect(refused(path, "\(count) bytes") == (count < end), "\(count) bytes")
        }
    }

    @Test func noChangedByteCrashesTheReader() throws {
        let folder = try Folder()
        let original = try MappedFile.contents(path: fixture("values.gguf"), limit: 10_000)
        let path = try folder.write("damaged.gguf", original)
        let descriptor = Glibc.open(path, O_WRONLY)
        try #require(descriptor >= 0)
        defer { close(descriptor) }
        let header = try GGUFReader.headerSize(of: path)
        var count = 0
        for index in 0..<header {
            for mask in [0x01, 0x80, 0xFF] as [UInt8] {
                #expect(pwrite(descriptor, [original[index] ^ mask], 1, off_t(index)) == 1)
                if refused(path, "byte \(index)") { count += 1 }
            }
            #expect(pwrite(descriptor, [original[index]], 1, off_t(index)) == 1)
        }
        // Changes of counts, lengths, types and offsets are refused; changes of names, numbers and texts are not.
        #expect(count > header)
        try damage(original) { Array(try GGUFFile(path: $0).tensors.values) }
    }
}

extension GGUFReader {
    /// Bytes before the data, read as the file says.
    fileprivate static func headerSize(of path: String) throws -> Int {
        var reader = try GGUFReader(MappedFile(path: path), check: {})
        _ = try reader.version()
        let tensors = try reader.count(of: "tensors", size: 1)
        let keys = try reader.count(of: "keys", size: 1)
        _ = try reader.metadata(count: keys)
        _ = try reader.tensors(count: tensors)
        return reader.cursor.offset
    }
}
