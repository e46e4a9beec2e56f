import Foundation
import LyraFormats
import LyraBase
import Testing

@testable import LyraModel

/// Where towers and the vocoder are searched, and which of several is chosen.
@Suite struct TowerFinderTests {
    /// A directory tree that is removed with the object.
    private final class Tree {
        let root: String

        /// - Parameter directories: created below the root
        init(_ directories: String...) throws {
            // With links resolved, so that paths can be compared.
            root = try FileSystem.resolved(NSTemporaryDirectory()) + "/lyra-towers-\(UUID().uuidString)"
            for directory in directories {
                try FileManager.default.createDirectory(atPath: path(directory), withIntermediateDirectories: true)
            }
        }
        deinit { try? FileManager.default.removeItem(atPath: root) }

        func path(_ name: String) -> String { root + "/" + name }
        func link(_ name: String, to target: String) throws {
            try FileManager.default.createSymbolicLink(atPath: path(name), withDestinationPath: target)
        }
        func put(_ names: String...) throws {
            for name in names { try Data("{}".utf8).write(to: URL(fileURLWithPath: path(name))) }
        }
    }

    @Test func aRelativeNameIsNeverSearchedInTheCurrentDirectory() throws {
        let tree = try Tree("a/b/lyra")
        let finder = try TowerFinder(checkpoint: tree.path("a/b/lyra"), extra: tree.path("extra"))
        #expect(
            finder.candidates("model_zoo/audio/whisper")
                == [
                    "a/b/lyra/model_zoo/audio/whisper", "a/b/model_zoo/audio/whisper", "a/model_zoo/audio/whisper",
                    "model_zoo/audio/whisper", "extra/model_zoo/audio/whisper", "extra/audio/whisper", "extra/whisper",
                ].map(tree.path))
        #expect(
            finder.candidates("/zoo/whisper") == [
                "/zoo/whisper", tree.path("extra/zoo/whisper"), tree.path("extra/whisper"),
            ])
    }

    @Test func aTowerInTheCheckpointWinsOverOneBesideIt() throws {
        let tree = try Tree("lyra/model_zoo/w", "model_zoo/w", "extra/model_zoo/w")
        let finder = try TowerFinder(checkpoint: tree.path("lyra"), extra: tree.path("extra"))
        #expect(try finder.directory("model_zoo/w") == tree.path("lyra/model_zoo/w"))
    }

    @Test func aLinkedCheckpointFindsItsNeighboursFromBothEnds() throws {
        let tree = try Tree("store/deep/lyra", "store/model_zoo/far", "home/model_zoo/near")
        try tree.link("home/link", to: "../store/deep/lyra")
        for checkpoint in ["home/link", "home/link/"] {
            let finder = try TowerFinder(checkpoint: tree.path(checkpoint), extra: nil)
            #expect(try finder.directory("model_zoo/near") == tree.path("home/model_zoo/near"))
            let far = try #require(try finder.directory("model_zoo/far"))
            #expect(try FileSystem.resolved(far) == tree.path("store/model_zoo/far"))
            #expect(try finder.directory("model_zoo/nowhere") == nil)
        }
    }

    @Test func aLinkedFileFindsItsNeighboursFromBothEnds() throws {
        let tree = try Tree("store/model_zoo/far", "home/model_zoo/near")
        try tree.put("store/model.gguf")
        try tree.link("home/m.gguf", to: "../store/model.gguf")
        let finder = try TowerFinder(checkpoint: tree.path("home/m.gguf"), extra: nil)
        #expect(try finder.directory("model_zoo/near") == tree.path("home/model_zoo/near"))
        #expect(try finder.directory("model_zoo/far") == tree.path("store/model_zoo/far"))
    }

    @Test func aDirectoryThatCannotBeExaminedIsAnError() throws {
        let tree = try Tree("lyra/model_zoo", "model_zoo/w")
        try tree.link("lyra/model_zoo/w", to: "w")
        let finder = try TowerFinder(checkpoint: tree.path("lyra"), extra: nil)
        for find in [
            { try finder.directory("model_zoo/w") }, { try finder.file("model_zoo/w") }, { try finder.vocoder(nil) {} },
        ] {
            let error = #expect(throws: LyraError.self) { _ = try find() }
            #expect(error?.code == .io && error?.message.contains(tree.path("lyra/model_zoo/w")) == true)
        }
    }

    // HiFi-GAN's scan_checkpoint chooses the last of the sorted names, all of one length.
    @Test func theNewestVocoderIsChosen() throws {
        for (files, newest) in [
            (["g_00000100", "g_00500000"], "g_00500000"), (["g_00500000", "g_00000100", "do_00900000"], "g_00500000"),
            (["g_99999999", "g_100000000"], "g_100000000"), (["g_9", "g_10"], "g_10"),
            (["g_best", "g_00000001"], "g_00000001"),
            (["g_00500000.bak", "g_00000100"], "g_00000100"), (["g_a", "g_b"], "g_b"),
            (["g_00000000", "g_x"], "g_00000000"),
        ] {
            let tree = try Tree("lyra/model_zoo/v", "given", "extra/deep/v")
            for folder in ["lyra/model_zoo/v", "given", "extra/deep/v"] {
                try tree.put(folder + "/config.json")
                for file in files { try tree.put(folder + "/" + file) }
            }
            let finder = try TowerFinder(checkpoint: tree.path("lyra"), extra: nil)
            #expect(try finder.vocoder(nil) {} == tree.path("lyra/model_zoo/v/" + newest))
            #expect(try finder.vocoder(tree.path("given")) {} == tree.path("given/" + newest))
            let apart = try TowerFinder(checkpoint: tree.path("given/none"), extra: tree.path("extra"))
            #expect(try apart.vocoder(nil) {} == tree.path("extra/deep/v/" + newest))
            #expect(try finder.vocoder(tree.path("given/" + files[0])) {} == tree.path("given/" + files[0]))
        }
    }

    @Test func anAdapterThatCannotBeExaminedIsAnError() throws {
        let copy = try CheckpointCopy("a")
        let file = copy.model + "/speech_lora/adapter_config.json"
        try FileManager.default.removeItem(atPath: file)
        try FileManager.default.createSymbolicLink(atPath: file, withDestinationPath: "adapter_config.json")
        expect(.io, file, "Too many levels of symbolic links", open: copy)
    }

    @Test(arguments: [
        "added_tokens.json", "generation_config.json", "tokenizer_config.json", "vocab.json", "config.json",
    ])
    func aTextFileThatCannotBeExaminedIsAnError(_ name: String) throws {
        let copy = try CheckpointCopy("a")
        try FileManager.default.removeItem(atPath: copy.model + "/" + name)
        try FileManager.default.createSymbolicLink(atPath: copy.model + "/" + name, withDestinationPath: name)
        expect(.io, copy.model + "/" + name, "Too many levels of symbolic links", open: copy)
    }
}
