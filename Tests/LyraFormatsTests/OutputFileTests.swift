import Foundation
import Testing

@testable import LyraFormats

/// Files that appear under their names only when they are complete: links, permissions, synchronizing with the disk.
@Suite struct OutputFileTests {
    private func write(_ text: String, to path: String) throws {
        let output = try OutputFile(path: path)
        try Array(text.utf8).withUnsafeBytes { try output.write($0, at: 0) }
        try output.commit()
    }

    private func text(_ path: String) throws -> String { try String(contentsOfFile: path, encoding: .utf8) }

    private func mode(_ path: String) -> mode_t {
        var info = stat()
        return stat(path, &info) == 0 ? info.st_mode & 0o7777 : 0
    }

    @Test func aLinkStaysAndItsTargetIsReplaced() throws {
        let folder = try Folder()
        try FileManager.default.createDirectory(atPath: folder.path + "/there", withIntermediateDirectories: true)
        let file = try folder.write("there/file", "old".utf8)
        // A chain of two links from another directory: relative, then absolute.
        #expect(symlink("link", folder.path + "/first") == 0)
        #expect(symlink(file, folder.path + "/link") == 0)
        let output = try OutputFile(path: folder.path + "/first")
        #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path + "/there").count == 2)
        try Array("new".utf8).withUnsafeBytes { try output.write($0, at: 0) }
        try output.commit()
        #expect(try text(file) == "new")
        #expect(try FileManager.default.destinationOfSymbolicLink(atPath: folder.path + "/first") == "link")
        #expect(try FileManager.default.destinationOfSymbolicLink(atPath: folder.path + "/link") == file)
        #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path + "/there") == ["file"])
    }

    @Test func aDanglingLinkCreatesItsTargetAndACycleIsAnError() throws {
        let folder = try Folder()
        #expect(symlink("new", folder.path + "/link") == 0)
        try write("text", to: folder.path + "/link")
        #expect(try folder.names == ["link", "new"] && text(folder.path + "/new") == "text")
        #expect(symlink("circle", folder.path + "/circle") == 0)
        expect(.io, folder.path + "/circle", "Too many levels of symbolic links") {
            try write("text", to: folder.path + "/circle")
        }
    }

    @Test(arguments: [0o600, 0o640, 0o444, 0o666, 0o755] as [mode_t])
    func aReplacedFileKeepsItsPermissions(_ permissions: mode_t) throws {
        let folder = try Folder()
        let file = try folder.write("file", "old".utf8)
        #expect(chmod(file, permissions) == 0)
        try write("new", to: file)
        #expect(try text(file) == "new")
        #expect(mode(file) == permissions)
        #expect(symlink("file", folder.path + "/link") == 0)
        try write("newer", to: folder.path + "/link")
        #expect(mode(file) == permissions)
    }

    /// fsync fails on a pipe.
    @Test func aFileThatCannotBeSynchronizedIsNotComplete() throws {
        let folder = try Folder()
        try folder.write("file", "old".utf8)
        let temporary = try folder.write("file.partial", [])
        var ends: [Int32] = [0, 0]
        #expect(pipe(&ends) == 0)
        defer { close(ends[0]) }
        let output = OutputFile(path: folder.path + "/file", temporary: temporary, descriptor: ends[1])
        expect(.io, folder.path + "/file", "cannot complete", "Invalid argument") { try output.commit() }
        #expect(try folder.names == ["file"] && text(folder.path + "/file") == "old")
        expect(.state) { try output.commit() }
    }

    @Test func unfinishedFilesCanBeDiscardedTogether() throws {
        let folder = try Folder()
        let one = try OutputFile(path: folder.path + "/one"), two = try OutputFile(path: folder.path + "/two")
        try write("three", to: folder.path + "/three")
        #expect(folder.names.count == 3)
        var names: [String] = []
        UnfinishedFiles.discardAll { names = folder.names }
        #expect(names == ["three"])
        expect(.io, "/one", "cannot complete") { try one.commit() }
        two.discard()
        try write("four", to: folder.path + "/four")
        #expect(folder.names == ["four", "three"])
    }

    @Test func namesOfOneFileHaveOneIdentity() throws {
        let folder = try Folder()
        let file = try folder.write("file", [1]), other = try folder.write("other", [1])
        #expect(link(file, folder.path + "/hard") == 0 && symlink("file", folder.path + "/soft") == 0)
        let mapped = try MappedFile(path: file)
        for name in ["file", "hard", "soft", "../\((folder.path as NSString).lastPathComponent)/file"] {
            #expect(try FileIdentity(path: folder.path + "/" + name) == mapped.identity, "\(name)")
        }
        #expect(try FileIdentity(path: other) != mapped.identity)
        #expect(try FileIdentity(path: folder.path + "/nothing") == nil)
        #expect(try FileIdentity(path: "\0") == nil)
        #expect(try FileSystem.resolved(folder.path + "/./soft").hasSuffix("/file"))
        #expect(try FileSystem.resolved("/nowhere/at/all") == "/nowhere/at/all")
    }
}
