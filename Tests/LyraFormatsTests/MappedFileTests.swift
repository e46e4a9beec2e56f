import Foundation
import LyraTensor
import Testing

@testable import LyraFormats

@Suite struct MappedFileTests {
    @Test func bytesAreThoseOfTheFile() throws {
        let folder = try Folder()
        let content = (0..<10_000).map { UInt8(truncatingIfNeeded: $0 &* 7) }
        let path = try folder.write("a", content)
        let file = try MappedFile(path: path)
        #expect(Array(file.bytes) == content)
        file.dropResidentPages()
        #expect(Array(file.bytes) == content)
        #expect(try MappedFile.contents(path: path, limit: 10_000) == content)
    }

    @Test func anEmptyFileIsAnEmptyBuffer() throws {
        let path = try Folder.keeping { try $0.write("a", []) }
        let file = try MappedFile(path: path.value)
        #expect(file.bytes.isEmpty)
        file.dropResidentPages()
        #expect(try MappedFile.contents(path: path.value, limit: 0).isEmpty)
    }

    @Test func whatIsNotAReadableFileIsRefused() throws {
        let folder = try Folder()
        expect(.missing, "absent", "No such file") { _ = try MappedFile(path: folder.path + "/absent") }
        expect(.io, folder.path, "not a regular file") { _ = try MappedFile(path: folder.path) }
        expect(.io, "/dev/null", "not a regular file") { _ = try MappedFile(path: "/dev/null") }
        expect(.argument) { _ = try MappedFile(path: "") }
        expect(.argument) { _ = try MappedFile(path: "a\0b") }
        #expect(mkfifo(folder.path + "/pipe", 0o600) == 0)
        expect(.io, "not a regular file") { _ = try MappedFile(path: folder.path + "/pipe") }
        let path = try folder.write("a", [1, 2, 3])
        expect(.format, path, "3 bytes", "2") { _ = try MappedFile.contents(path: path, limit: 2) }
    }

    @Test func filesAndDirectoriesAreToldApart() throws {
        let folder = try Folder()
        let path = try folder.write("a", [1])
        #expect(FileSystem.isFile(path) && !FileSystem.isDirectory(path))
        #expect(FileSystem.isDirectory(folder.path) && !FileSystem.isFile(folder.path))
        #expect(!FileSystem.isFile(path + "b") && !FileSystem.isFile(path + "\0"))
        #expect(
            FileSystem.join("a", "b") == "a/b" && FileSystem.join("a/", "b") == "a/b" && FileSystem.join("", "b") == "b"
        )
    }
}

extension Folder {
    /// A value together with the folder that it refers to.
    static func keeping<T>(_ make: (Folder) throws -> T) throws -> (value: T, folder: Folder) {
        let folder = try Folder()
        return (try make(folder), folder)
    }
}
