
    @Test func namesOfOneFileAreKnownAsThat() throws {
        let folder = try Folder()
        let file = try folder.write("file", [1]), other = try folder.write("other", [1])
        #expect(link(file, folder.path + "/hard") == 0 && symlink("file", folder.path + "/soft") == 0)
        let mapped = try MappedFile(path: file)
        for name in ["file", "hard", "soft", "../\((folder.path as NSString).lastPathComponent)/file"] {
            #expect(FileIdentity(path: folder.path + "/" + name) == mapped.identity, "\(name)")
        }
        #expect(FileIdentity(path: other) != mapped.identity)
        #expect(FileIdentity(path: folder.path + "/nothing") == nil && FileIdentity(path: "\0") == nil)
    }
}
