import Foundation
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

    @Test func directoriesDevicesAndMissingFilesAreRefused() throws {
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

    @Test func filesAndDirectoriesAreDistinguished() throws {
        let folder = try Folder()
        let path = try folder.write("a", [1])
        #expect(try FileSystem.isFile(path))
        #expect(try !FileSystem.isDirectory(path))
        #expect(try FileSystem.isDirectory(folder.path))
        #expect(try !FileSystem.isFile(folder.path))
        #expect(try !FileSystem.isFile(path + "b"))
        #expect(try !FileSystem.isFile(path + "\0"))
        // ENOTDIR: a path below a file does not exist.
        #expect(try !FileSystem.isFile(path + "/c"))
        #expect(
            FileSystem.join("a", "b") == "a/b" && FileSystem.join("a/", "b") == "a/b" && FileSystem.join("", "b") == "b"
        )
    }
}

/// Only ENOENT and ENOTDIR mean that a file is absent. These failures happen to root, too.
@Suite struct FailingLookUpTests {
    /// Every look-up of `path` in the file system.
    private let questions: [(String) throws -> Void] = [
        { _ = try FileSystem.isFile($0) }, { _ = try FileSystem.isDirectory($0) }, { _ = try FileSystem.isSpecial($0) },
        { _ = try FileSystem.entries(of: $0) }, { _ = try FileSystem.resolved($0) }, { _ = try FileIdentity(path: $0) },
        { _ = try MappedFile(path: $0) }, { _ = try OutputFile(path: $0) },
        { _ = try ShardedSafetensors(directory: FileSystem.parent(of: $0), stem: "circle") },
    ]

    @Test func aCycleOfLinksIsAnErrorWithItsReason() throws {
        let folder = try Folder()
        for name in ["circle", "circle.safetensors.index.json"] {
            try FileManager.default.createSymbolicLink(
                atPath: folder.path + "/" + name, withDestinationPath: folder.path + "/" + name)
        }
        for question in questions {
            expect(.io, folder.path + "/circle", "Too many levels of symbolic links") {
                try question(folder.path + "/circle")
            }
        }
    }

    @Test func aNameThatIsTooLongIsAnErrorWithItsReason() throws {
        let folder = try Folder()
        for question in questions.dropLast() {
            expect(.io, folder.path, "File name too long") {
                try question(folder.path + "/" + String(repeating: "n", count: 256))
            }
        }
    }

    @Test func aShardThatCannotBeExaminedIsNotAbsent() throws {
        let folder = try Folder()
        try FileManager.default.createSymbolicLink(atPath: folder.path + "/s", withDestinationPath: "s")
        try folder.write("model.safetensors.index.json", #"{"weight_map":{"x":"s"}}"#.utf8)
        expect(.io, folder.path + "/s", "Too many levels") { _ = try ShardedSafetensors(directory: folder.path) }
    }
}

extension Folder {
    /// A value and the folder that it refers to.
    static func keeping<T>(_ make: (Folder) throws -> T) throws -> (value: T, folder: Folder) {
        let folder = try Folder()
        return (try make(folder), folder)
    }
}
