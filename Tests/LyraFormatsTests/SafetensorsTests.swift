import Foundation
import LyraTensor
import Testing

@testable import LyraFormats

@Suite struct SafetensorsTests {
    /// A file with this header text and this many data bytes, counting up.
    private func open(_ header: String, data: Int = 0, length: UInt64? = nil) throws -> Safetensors {
        let folder = try Folder()
        var content: [UInt8] = []
        content.append(length ?? UInt64(header.utf8.count))
        content += Array(header.utf8) + (0..<data).map { UInt8(truncatingIfNeeded: $0) }
        return try Safetensors(path: folder.write("m.safetensors", content))
    }

    private func entry(_ dtype: String, _ shape: String, _ begin: Int, _ end: Int) -> String {
        "{\"dtype\":\"\(dtype)\",\"shape\":\(shape),\"data_offsets\":[\(begin),\(end)]}"
    }

    // The safetensors library wrote the file; make_fixtures.py has the numbers.
    @Test func aFileOfThePeerLibraryIsReadAsWritten() throws {
        let file = try Safetensors(path: fixture("values.safetensors"))
        #expect(file.names.count == 15 && file.names == file.names.sorted())
        #expect(Set(file.tensors.values.map(\.type)) == Set(ElementType.plain))
        let view = try #require(file.tensor("views.second"))
        #expect(view.shape == [6] && view.floats == [4, 5, 6, 7, 8, 9] && view.count == 6)
        let half = try #require(file.tensor("types.f16"))
        #expect(half.type == .float16 && half.shape == [2, 3])
        // 1, -2, 3, 4, 5, -6 as IEEE halves, by hand.
        #expect(half.data == [0x00, 0x3C, 0x00, 0xC0, 0x00, 0x42, 0x00, 0x44, 0x00, 0x45, 0x00, 0xC6])
        #expect(file.tensor("types.u8")?.data == [1, 2, 3, 4, 5, 255])
        #expect(file.tensor("types.bool")?.data == [1, 0, 1])
        #expect(file.tensor("scalar")?.shape == [] && file.tensor("scalar")?.floats == [1.5])
        #expect(file.tensor("empty")?.shape == [0, 3] && file.tensor("empty")?.bytes.count == 0)
        #expect(file.tensor("absent") == nil)
    }

    @Test func tensorsOutliveTheReader() throws {
        let tensor = try #require(Safetensors(path: fixture("values.safetensors")).tensor("views.first"))
        #expect(tensor.floats == [0, 1, 2, 3])
    }

    @Test func anInvalidHeaderIsRefused() throws {
        let folder = try Folder()
        expect(.format, "m.safetensors", "truncated") {
            _ = try Safetensors(path: folder.write("m.safetensors", [1, 0, 0]))
        }
        expect(.format, "truncated") { _ = try open("{}", length: 3) }
        expect(.format, "100000001") { _ = try open("{}", length: 100_000_001) }
        expect(.format, "\(UInt64.max)") { _ = try open("{}", length: .max) }
        expect(.format, "'{'") { _ = try open("[]") }
        expect(.format, "'{'") { _ = try open("") }
        expect(.format, "m.safetensors", "JSON") { _ = try open("{\"a\":") }
        expect(.format, "__metadata__") { _ = try open("{\"__metadata__\":{\"a\":1}}") }
        #expect(try open("{}   ").names == [])
    }

    @Test func anInvalidEntryIsRefused() throws {
        expect(.format, "\"a\"", "data_offsets") { _ = try open("{\"a\":\(entry("U8", "[2]", 1, 3))}", data: 2) }
        expect(.format, "\"a\"", "data_offsets") { _ = try open("{\"a\":\(entry("U8", "[2]", 2, 0))}", data: 2) }
        expect(.format, "\"a\"", "data_offsets") { _ = try open("{\"a\":\(entry("U8", "[2]", -2, 0))}", data: 2) }
        expect(.format, "\"a\"", "data_offsets") {
            _ = try open("{\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0]}}", data: 2)
        }
        expect(.format, "\"a\"", "shape") { _ = try open("{\"a\":\(entry("U8", "[3]", 0, 2))}", data: 2) }
        expect(.format, "\"a\"", "shape") { _ = try open("{\"a\":\(entry("F32", "[-1,-1]", 0, 4))}", data: 4) }
        // 2^62 · 4 and 2^32 · 2^32 wrap to zero.
        expect(.format, "\"a\"", "shape") { _ = try open("{\"a\":\(entry("F32", "[4611686018427387904]", 0, 0))}") }
        expect(.format, "\"a\"", "shape") { _ = try open("{\"a\":\(entry("U8", "[4294967296,4294967296]", 0, 0))}") }
        // Without elements, but no tensor in memory can have these axes: 2^62 · 4 wraps.
        for shape in ["[0,4611686018427387904,4]", "[4611686018427387904,4,0]"] {
            expect(.format, "\"a\"", "shape") { _ = try open("{\"a\":\(entry("F32", shape, 0, 0))}") }
        }
        expect(.format, "m.safetensors", "number") { _ = try open("{\"a\":\(entry("U8", "[1.5]", 0, 1))}", data: 1) }
        expect(.format, "m.safetensors", "number") {
            _ = try open("{\"a\":\(entry("U8", "[99999999999999999999]", 0, 1))}", data: 1)
        }
        expect(.format, "\"dtype\" is missing") {
            _ = try open("{\"a\":{\"shape\":[],\"data_offsets\":[0,1]}}", data: 1)
        }
    }

    @Test func aTensorOfAnUnsupportedTypeIsListed() throws {
        // Dtypes of the safetensors library that lyra does not read, and unknown ones.
        for dtype in [
            "U16", "U32", "U64", "C64", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ", "F4", "F6_E2M3", "I4", "Q8_0",
        ] {
            let file = try open(
                "{\"a\":\(entry(dtype, "[7]", 0, 4)),\"b\":\(entry("U8", "[2]", 4, 6))}", data: 6)
            let tensor = try #require(file.tensor("a"))
            #expect(tensor.type == .other && tensor.typeName == dtype && tensor.shape == [7])
            #expect(tensor.data == [0, 1, 2, 3] && file.tensor("b")?.data == [4, 5])
            expect(.unsupported, "m.safetensors", "a", dtype) { _ = try tensor.floats() }
            expect(.unsupported, "m.safetensors", "a", dtype) { _ = try Weight(tensor) }
        }
        // Its bytes must still not overlap another tensor's.
        expect(.format, "overlaps") {
            _ = try open("{\"a\":\(entry("U16", "[2]", 0, 4)),\"b\":\(entry("U8", "[2]", 3, 5))}", data: 5)
        }
    }

    @Test func aHugeHeaderIsRefusedBeforeItsTensorsAreBuilt() throws {
        // 80,000 tensors without elements, each with a name of its own.
        let entries = (0..<80_000).map { "\"\($0)\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}" }
        expect(.unsupported, "m.safetensors", "65536 tensors") { _ = try open("{\(entries.joined(separator: ","))}") }
        let axes = Array(repeating: "1", count: 65).joined(separator: ",")
        expect(.format, "64 numbers") { _ = try open("{\"a\":\(entry("U8", "[\(axes)]", 0, 1))}", data: 1) }
        expect(.format, "65535 bytes") {
            _ = try open("{\"\(String(repeating: "n", count: 70_000))\":\(entry("U8", "[1]", 0, 1))}", data: 1)
        }
        expect(.format, "nested") { _ = try open("{\"a\":{\"b\":" + String(repeating: "[", count: 100)) }
        let metadata = String(repeating: "m", count: 1 << 20)
        #expect(try open("{\"__metadata__\":{\"k\":\"\(metadata)\"}}").names == [])
        expect(.format, "twice") {
            _ = try open("{\"a\":\(entry("U8", "[1]", 0, 1)),\"a\":\(entry("U8", "[1]", 1, 2))}", data: 2)
        }
    }

    @Test func dataMustBeCoveredExactlyOnce() throws {
        let two = { (b: Int, e: Int, c: Int, d: Int) in
            "{\"a\":\(entry("U8", "[\(e - b)]", b, e)),\"b\":\(entry("U8", "[\(d - c)]", c, d))}"
        }
        #expect(try open(two(2, 4, 0, 2), data: 4).tensor("a")?.data == [2, 3])
        expect(.format, "\"b\"", "overlaps") { _ = try open(two(0, 2, 1, 4), data: 4) }
        expect(.format, "overlaps") { _ = try open(two(0, 2, 0, 2), data: 2) }
        expect(.format, "\"b\"", "gap") { _ = try open(two(0, 2, 3, 4), data: 4) }
        expect(.format, "gap") { _ = try open(two(1, 2, 2, 4), data: 4) }
        expect(.format, "1 bytes from data byte 4", "no tensor") { _ = try open(two(0, 2, 2, 4), data: 5) }
        #expect(try open(two(0, 4, 4, 4), data: 4).tensor("b")?.count == 0)
    }

    @Test func damageNeverCrashes() throws {
        try damage(MappedFile.contents(path: fixture("values.safetensors"), limit: 10_000)) {
            Array(try Safetensors(path: $0).tensors.values)
        }
    }
}
