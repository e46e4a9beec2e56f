import LyraBase
import LyraFormats
import LyraTensor
import Testing

@testable import LyraData

@Suite struct CodebookTests {
    /// An .npy file as NumPy writes it.
    private func npy(_ header: String, _ body: [UInt8], version: UInt8 = 1) -> [UInt8] {
        let text = Array(header.utf8) + [0x0A]
        let length = [UInt8(text.count & 255), UInt8(text.count >> 8)] + (version == 1 ? [] : [0, 0])
        return [0x93] + Array("NUMPY".utf8) + [version, 0] + length + text + body
    }

    private func floats(_ values: [Float]) -> [UInt8] { values.flatMap { withUnsafeBytes(of: $0) { Array($0) } } }

    @Test func whatIsWrittenIsReadAgain() throws {
        let folder = try TemporaryFolder()
        for features in [
            Codebook.Features(kind: .logMels(bands: 40)), .init(kind: .tower(layer: 3), tower: "whisper"),
            .init(kind: .stored),
        ] {
            let book = try Codebook(centroids: Tensor([2, 3], [1, 2, 3, 4, 5, 6]), features: features)
            try book.write(to: folder.path + "/book", frames: 7, seed: 9)
            let again = try Codebook.open(folder.path + "/book")
            #expect(again.features == features && again.centroids.values == [1, 2, 3, 4, 5, 6])
            #expect(try again.units(of: Tensor([2, 3], [5, 5, 5, 0, 2, 3])) == [1, 0])
            #expect(try Safetensors(path: folder.path + "/book").metadata()["seed"] == "9")
        }
    }

    @Test func arraysOfNumPyAreRead() throws {
        let folder = try TemporaryFolder()
        let values: [Float] = [1, 2, 3, 4, 5, 6]
        let header = "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 2), }"
        for version in [UInt8(1), 2, 3] {
            let book = try Codebook.open(folder.file("a.npy", npy(header, floats(values), version: version)))
            #expect(book.centroids.shape == [3, 2] && book.centroids.values == values && book.features == nil)
        }
        let doubles = [0.5, 1.5].flatMap { withUnsafeBytes(of: $0) { Array($0) } }
        let other = npy("{\"shape\":(1,2),\"fortran_order\":False,\"descr\":\"<f8\"}", doubles)
        #expect(try Codebook.open(folder.file("b.npy", other)).centroids.values == [0.5, 1.5])
    }

    @Test func damagedArraysAreRefusedByName() throws {
        let folder = try TemporaryFolder()
        let body = floats([1, 2, 3, 4])
        let bad = [
            npy("{'descr': '<f4', 'fortran_order': True, 'shape': (2, 2), }", body),
            npy("{'descr': '<i4', 'fortran_order': False, 'shape': (2, 2), }", body),
            npy("{'descr': '<f4', 'fortran_order': False, 'shape': (4,), }", body),
            npy("{'descr': '<f4', 'fortran_order': False, 'shape': (3, 2), }", body),
            npy("{'descr': '<f4', 'fortran_order': False, 'shape': (9223372036854775807, 2), }", body),
            npy("{'descr': '<f4', 'fortran_order': False, 'shape': (-2, -2), }", body),
            npy("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 2), }", floats([1, .nan, 3, 4])),
            npy("{'descr': '<f4'", body), npy("", []), [0x93] + Array("NUMPY".utf8), Array("hello".utf8), [],
        ]
        for (index, bytes) in bad.enumerated() {
            let path = try folder.file("bad\(index).npy", bytes)
            let error = #expect(throws: LyraError.self) { try Codebook.open(path) }
            #expect(error?.message.hasPrefix(path) ?? false)
        }
        var random = SplitMix64(seed: 1)
        let good = npy("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 2), }", body)
        for _ in 0..<300 {
            var bytes = good
            for _ in 0..<3 {
                bytes[Int(random.next(below: UInt64(bytes.count)))] = UInt8(truncatingIfNeeded: random.next())
            }
            _ = try? Codebook.open(folder.file("random.npy", bytes))
        }
    }

    @Test(arguments: [[0x80, 0x04, 0x95], [0x78, 0x9C, 0x01], Array("PK\u{3}\u{4}".utf8).map(Int.init)])
    func aPickleSaysHowToConvertIt(_ start: [Int]) throws {
        let folder = try TemporaryFolder()
        let path = try folder.file("km.bin", start.map { UInt8($0) } + Array(repeating: 7, count: 40))
        let error = #expect(throws: LyraError.self) { try Codebook.open(path) }
        #expect(error?.code == .unsupported && error?.message.contains("numpy.save") ?? false)
    }

    @Test func unitsAreWrittenAndReduced() {
        #expect(UnitText.text(UnitText.reduced([7, 7, 12, 12, 12, 7])) == "<7><12><7>")
        #expect(UnitText.reduced([]) == [] && UnitText.text([]) == "")
    }
}
