import Foundation
import Testing

@testable import LyraFormats

@Suite struct ZipArchiveTests {
    /// The bytes of the entry `a` of an archive.
    private func entry(_ archive: [UInt8]) throws -> [UInt8]? {
        let folder = try Folder()
        let file = try MappedFile(path: folder.write("f.zip", archive))
        return try ZipArchive(file).entries["a"].map { Array(file.bytes[$0]) }
    }

    private func archive(_ build: (inout ZipBuilder) -> Void) -> ZipBuilder {
        var builder = ZipBuilder()
        build(&builder)
        return builder
    }

    @Test func entriesAreFound() throws {
        let plain = archive {
            $0.add("b", [9]); $0.add("a", [1, 2, 3])
        }
        #expect(try entry(plain.finished()) == [1, 2, 3])
        #expect(try entry(plain.finished(comment: Array("PK\u{5}\u{6} and so on".utf8))) == [1, 2, 3])
    }

    @Test func zip64RecordsAreRead() throws {
        let large = archive {
            $0.add("b", [9], zip64: true); $0.add("a", [1, 2, 3], zip64: true)
        }
        #expect(try entry(large.finished(zip64: true)) == [1, 2, 3])
        #expect(try entry(large.finished()) == [1, 2, 3])
    }

    @Test func archivesThatTorchDoesNotWriteAreRefused() throws {
        expect(.unsupported, "f.zip", "\"a\"", "compressed") {
            _ = try entry(archive { $0.add("a", [1], method: 8) }.finished())
        }
        expect(.unsupported, "\"a\"", "encrypted") { _ = try entry(archive { $0.add("a", [1], flags: 1) }.finished()) }
        expect(.format, "\"a\"", "twice") {
            _ = try entry(
                archive {
                    $0.add("a", [1]); $0.add("a", [1])
                }.finished())
        }
        expect(.format, "\"a\"", "beyond the end") {
            _ = try entry(archive { $0.add("a", [1], claimedSize: 9999) }.finished())
        }
        expect(.format, "\"a\"") { _ = try entry(archive { $0.add("a", [1], offset: 1) }.finished()) }
        expect(.format, "\"a\"") { _ = try entry(archive { $0.add("a", [1], offset: 1 << 31) }.finished()) }
        expect(.format, "\"a\"", "is not") { _ = try entry(archive { $0.add("a", [1], localName: "b") }.finished()) }
        expect(.format, "truncated") { _ = try entry(archive { $0.add("a", [1]) }.content) }
    }

    @Test func aMissingOrInvalidDirectoryIsRefused() throws {
        var file = archive { $0.add("a", [1]) }.finished()
        file[file.count - 22 + 12] = 0xFF  // the directory's size
        expect(.format, "f.zip", "directory") { _ = try entry(file) }
        var large = archive { $0.add("a", [1], zip64: true) }.finished(zip64: true)
        large[large.count - 22 - 20 + 15] = 0xFF  // the top byte of the zip64 record's offset
        expect(.format, "zip64") { _ = try entry(large) }
        large = archive { $0.add("a", [1], zip64: true) }.finished(zip64: true)
        large[large.count - 22 - 20 - 56 + 32 + 7] = 0x7F  // the top byte of the number of entries
        expect(.format, "directory") { _ = try entry(large) }
    }
}
