import Foundation
import LyraTensor
import Testing

@testable import LyraFormats

/// Pickles written by hand, in a zip archive with one storage of four floats.
@Suite struct PickleTests {
    private func open(_ pickle: [UInt8], byteorder: String? = "little", storageBytes: Int = 16) throws -> TorchFile {
        let folder = try Folder()
        var zip = ZipBuilder()
        zip.add("x/data.pkl", pickle)
        if let byteorder { zip.add("x/byteorder", Array(byteorder.utf8)) }
        zip.add("x/data/0", [UInt8](repeating: 1, count: storageBytes))
        return try TorchFile(path: folder.write("f.pt", zip.finished()))
    }

    private func text(_ text: String) -> [UInt8] { [0x8C, UInt8(text.utf8.count)] + Array(text.utf8) }
    private func global(_ module: String, _ name: String) -> [UInt8] { Array("c\(module)\n\(name)\n".utf8) }
    private func int(_ value: Int32) -> [UInt8] { [0x4A] + withUnsafeBytes(of: value.littleEndian) { Array($0) } }
    private func tuple(_ parts: [UInt8]...) -> [UInt8] { [0x28] + parts.joined() + [0x74] }

    private func storage(key: String = "0", count: Int32 = 4, type: String = "FloatStorage") -> [UInt8] {
        tuple(text("storage"), global("torch", type), text(key), text("cpu"), int(count)) + [0x51]
    }

    /// `{"t": tensor}`.
    private func tensor(
        _ storage: [UInt8], offset: Int32 = 0, shape: [Int32] = [4], strides: [Int32] = [1], extra: [UInt8] = []
    ) -> [UInt8] {
        let dimensions = { (values: [Int32]) in [0x28] + values.flatMap(int) + [0x74] }
        return [0x80, 2, 0x7D] + text("t") + global("torch._utils", "_rebuild_tensor_v2")
            + tuple(storage, int(offset), dimensions(shape), dimensions(strides), [0x89], [0x4E], extra) + [
                0x52, 0x73, 0x2E,
            ]
    }

    @Test func theSmallestTensorIsRead() throws {
        let tensor = try #require(open(tensor(storage())).tensors()["t"])
        #expect(tensor.shape == [4] && tensor.type == .float32 && tensor.data == Array(repeating: 1, count: 16))
        #expect(try open(self.tensor(storage()), byteorder: nil).tensors().count == 1)
    }

    @Test(arguments: [
        ("os", "system"), ("builtins", "eval"), ("__builtin__", "eval"), ("posix", "system"), ("torch", "load"),
    ])
    func aForbiddenGlobalIsRefusedByName(_ module: String, _ name: String) throws {
        let call = text("touch /tmp/never") + [0x85, 0x52, 0x2E]
        expect(.unsupported, "f.pt", "\(module).\(name)", "at byte") { _ = try open(global(module, name) + call) }
        expect(.unsupported, "f.pt", "\(module).\(name)", "at byte") {
            _ = try open(text(module) + text(name) + [0x93] + call)
        }
    }

    @Test func everyUnsupportedOpcodeIsRefusedByName() throws {
        for byte in UInt8.min ... .max where PickleOpcode(rawValue: byte) == nil {
            let error = lyraError { _ = try open([0x80, 2, byte]) }
            if let name = PickleOpcode.refused[byte] {
                #expect(error.code == .unsupported && error.message.contains(name) && error.message.contains("at byte"))
            } else {
                #expect(error.code == .format && error.message.contains("\(byte) is not a pickle opcode"))
            }
        }
        // pickletools lists 68 opcodes.
        let known = (UInt8.min ... .max).filter { PickleOpcode(rawValue: $0) != nil }
        #expect(known.count + PickleOpcode.refused.count == 68)
        #expect(known.allSatisfy { PickleOpcode.refused[$0] == nil })
    }

    @Test func anOpcodeWithoutItsOperandsIsRefused() throws {
        for byte in UInt8.min ... .max where PickleOpcode(rawValue: byte) != nil {
            // An empty stack and no bytes after the opcode; then enough of both, of the wrong kind.
            expect(.format, "f.pt") { _ = try open([byte]) }
            _ = try? open([0x4E, 0x4E, 0x28, 0x4E, byte, 0, 0, 0, 0, 0, 0, 0, 0, 0x2E])
            _ = try? open([0x29, 0x29, 0x28, byte, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0x2E])
        }
        expect(.format, "mark") { _ = try open([0x74, 0x2E]) }
        expect(.format, "memo 7") { _ = try open([0x68, 7, 0x2E]) }
        expect(.format, "not a dict") { _ = try open([0x5D, 0x4E, 0x4E, 0x73, 0x2E]) }
        expect(.format, "not a list") { _ = try open([0x7D, 0x4E, 0x61, 0x2E]) }
        expect(.format, "not a dict") { _ = try open([0x7D, 0x28, 0x4E, 0x75, 0x2E]) }
        expect(.format, "frame") { _ = try open([0x95, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x2E]) }
        expect(.format, "breaks off") { _ = try open([0x8D, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x2E]) }
        expect(.format, "UTF-8") { _ = try open([0x8C, 1, 0xFF, 0x2E]) }
        expect(.unsupported, "protocol 6") { _ = try open([0x80, 6, 0x4E, 0x2E]) }
        // Values below a mark cannot be popped.
        expect(.format, "stack") { _ = try open([0x4E, 0x28, 0x85, 0x2E]) }
    }

    @Test func onlyStateDictsMayBeBuiltAndOnlyStoragesReferenced() throws {
        expect(.unsupported, "BUILD") { _ = try open([0x5D, 0x7D, 0x62, 0x2E]) }
        expect(.unsupported, "storage") {
            _ = try open(tuple(text("module"), text("a"), text("b"), text("c"), text("d")) + [0x51, 0x2E])
        }
        expect(.unsupported, "storage") { _ = try open(text("storage") + [0x51, 0x2E]) }
        expect(.format, "storage class") { _ = try open(global("torch", "FloatStorage") + [0x29, 0x52, 0x2E]) }
        expect(.format, "not a global") { _ = try open([0x4E, 0x29, 0x52, 0x2E]) }
        expect(.unsupported, "bare storage") { _ = try open(storage() + [0x2E]) }
        expect(.format, "OrderedDict") {
            _ = try open(global("collections", "OrderedDict") + [0x4E, 0x85, 0x52, 0x2E])
        }
    }

    @Test func aTensorMustFitItsStorage() throws {
        expect(.format, "f.pt", "\"t\"", "does not fit") { _ = try open(tensor(storage(), shape: [5])) }
        expect(.format, "\"t\"", "does not fit") { _ = try open(tensor(storage(), offset: 1)) }
        expect(.format, "\"t\"", "does not fit") { _ = try open(tensor(storage(), offset: -1, shape: [1])) }
        expect(.format, "\"t\"", "does not fit") { _ = try open(tensor(storage(), shape: [-4])) }
        expect(.format, "\"t\"", "does not fit") { _ = try open(tensor(storage(), shape: [4], strides: [])) }
        let huge = Int32.max
        expect(.format, "\"t\"") { _ = try open(tensor(storage(), shape: [huge, huge, huge], strides: [1, 1, 1])) }
        let empty = [0, huge, huge, huge]
        expect(.format, "\"t\"") { _ = try open(tensor(storage(), shape: empty, strides: [1, 1, 1, 1])) }
        expect(.format, "\"t\"", "16 bytes") { _ = try open(tensor(storage(count: 5), shape: [4])) }
        expect(.format, "\"t\"", "16 bytes") { _ = try open(tensor(storage(type: "DoubleStorage"))) }
        expect(.format, "\"t\"", "\"9\"") { _ = try open(tensor(storage(key: "9"))) }
        expect(.format, "\"t\"", "\"../0\"") { _ = try open(tensor(storage(key: "../0"))) }
        expect(.unsupported, "storage") { _ = try open(tensor(storage(count: -4))) }
        expect(.unsupported, "\"t\"", "contiguous") { _ = try open(tensor(storage(), shape: [2], strides: [2])) }
        expect(.unsupported, "\"t\"", "contiguous") { _ = try open(tensor(storage(), shape: [4], strides: [0])) }
        expect(.unsupported, "metadata") {
            _ = try open(tensor(storage(), extra: [0x7D] + text("neg") + [0x88, 0x73]))
        }
        #expect(try open(tensor(storage(), extra: [0x7D])).tensors().count == 1)
        expect(.unsupported, "byteorder", "big") { _ = try open(tensor(storage()), byteorder: "big") }
    }

    @Test func emptyAndUnitDimensionsMayHaveAnyStride() throws {
        #expect(try open(tensor(storage(), shape: [0, 7], strides: [9, -3])).tensors()["t"]?.shape == [0, 7])
        #expect(try open(tensor(storage(), shape: [1, 4, 1], strides: [9, 1, -3])).tensors()["t"]?.count == 4)
        #expect(try open(tensor(storage(), offset: 3, shape: [], strides: [])).tensors()["t"]?.count == 1)
    }

    @Test func endlessTreesAreRefused() throws {
        // A list that contains itself; 100,000 nested tuples; a hundred lists, each holding the one before it twice.
        expect(.format, "nested or repeated") { _ = try open([0x5D, 0x71, 0, 0x68, 0, 0x61, 0x2E]) }
        expect(.format, "nested or repeated") { _ = try open([0x29] + Array(repeating: 0x85, count: 100_000) + [0x2E]) }
        var doubling: [UInt8] = [0x5D, 0x71, 0]
        for index in 1...UInt8(60) {
            doubling += [0x5D, 0x71, index, 0x28, 0x68, index - 1, 0x68, index - 1, 0x65]
        }
        expect(.format, "nested or repeated") { _ = try open(doubling + [0x2E]) }
        // A long key at every depth, which makes names as long as all keys together.
        let key = [0x58, 0, 0, 1, 0] + Array(repeating: UInt8(ascii: "k"), count: 65_536) + [0x71, 0]
        let nest = [0x7D] + key + Array(repeating: [0x7D, 0x68, 0], count: 60).joined() + [0x4E]
        expect(.format, "nested or repeated") { _ = try open(nest + Array(repeating: 0x73, count: 61) + [0x2E]) }
    }

    @Test func keysMustBePlainAndUnique() throws {
        let dict = { (keys: [[UInt8]]) -> [UInt8] in
            [0x7D, 0x28] + keys.flatMap { key -> [UInt8] in key + [0x4E] } + [0x75, 0x2E]
        }
        expect(.format, "\"a\"", "twice") { _ = try open(dict([text("a"), text("a")])) }
        expect(.format, "\"1\"", "twice") { _ = try open(dict([text("1"), [0x4B, 1]])) }
        expect(.unsupported, "key") { _ = try open(dict([[0x29]])) }
        let long: [UInt8] = [0x8A, 9, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0x2E]
        expect(.unsupported, "64 bits") { _ = try open(long) }
    }

    @Test func textOfPython2IsRead() throws {
        let root = try open([0x55, 2] + Array("hi".utf8) + [0x2E]).root
        guard case .string("hi") = root else {
            Issue.record("\(root)")
            return
        }
    }
}
