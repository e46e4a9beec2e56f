import Foundation
import LyraFormats
import LyraBase
import TestSupport
import Testing

@testable import LyraModel
@testable import LyraTools

/// A conversion neither overwrites the files of its model nor writes a file that cannot be opened.
@Suite struct ConversionTests {
    /// A copy of a fixture whose files may be overwritten.
    private func copy(_ name: String) throws -> OneFile {
        let copy = try OneFile()
        for part in ["lyra", "model_zoo"] {
            try FileManager.default.copyItem(
                atPath: Golden.path(name) + "/" + part, toPath: copy.folder + "/" + part)
        }
        return copy
    }

    private func converter(_ path: String, scope: ModelConverter.Scope = .whole) throws -> ModelConverter {
        try ModelConverter(path: path, options: CheckpointOptions(), recipe: .bf16, scope: scope)
    }

    private func contents(_ folder: String) throws -> [String: Data?] {
        let names = try FileManager.default.subpathsOfDirectory(atPath: folder)
        return Dictionary(
            uniqueKeysWithValues: names.map { ($0, FileManager.default.contents(atPath: folder + "/" + $0)) })
    }

    @Test(arguments: ["a", "b"], [ModelConverter.Scope.whole, .language])
    func noFileOfTheModelIsOverwritten(_ name: String, _ scope: ModelConverter.Scope) throws {
        let model = try copy(name), before = try contents(model.folder)
        let converter = try converter(model.folder + "/lyra", scope: scope)
        let inputs = try before.keys.filter { try FileSystem.isFile(model.folder + "/" + $0) }
        #expect(inputs.count > 15)
        for input in inputs {
            expect(.argument, input, "another file") { _ = try converter.write(to: model.folder + "/" + input) }
        }
        let shard = model.folder + "/lyra/model-00001-of-00002.safetensors"
        for (link, make) in [("/soft", symlink), ("/hard", Glibc.link)] {
            #expect(make(shard, model.folder + link) == 0)
            expect(.argument, link) { _ = try converter.write(to: model.folder + link) }
            #expect(unlink(model.folder + link) == 0)
        }
        #expect(try contents(model.folder) == before)
        // A file of the model's directory that the model does not use, and a new file.
        try Data("notes".utf8).write(to: URL(filePath: model.folder + "/lyra/README.md"))
        for name in ["README.md", "model.gguf"] {
            #expect(try converter.write(to: model.folder + "/lyra/" + name).tensors > 70)
        }
    }

    /// The old file stays mapped after its name is replaced.
    @Test func aFileMayBeReplacedByItsOwnConversion() throws {
        let file = try OneFile(Golden.path("b") + "/lyra", .bf16)
        let before = try GGUFFile(path: file.path)
        _ = try converter(file.path).write(to: file.path)
        let after = try GGUFFile(path: file.path)
        #expect(after.names == before.names)
        for name in before.names {
            #expect(
                after.tensor(name).map { Array($0.bytes) } == before.tensor(name).map { Array($0.bytes) }, "\(name)")
        }
        #expect(try file.open().speechNetworks.isPresent)
    }

    @Test func tooManyAdaptersAreNotWritten() throws {
        let loader = try CheckpointLoader(Golden.path("b") + "/lyra", CheckpointOptions())
        let checkpoint = try loader.load()
        var contents = loader.contents
        contents.adapters = [String](repeating: "speech", count: OneFileSource.mostAdapters)
        _ = try ConversionPlan(contents, checkpoint, recipe: .bf16, scope: .whole, name: "b")
        contents.adapters.append("speech")
        expect(.unsupported, "257 adapters", "256") {
            _ = try ConversionPlan(contents, checkpoint, recipe: .bf16, scope: .whole, name: "b")
        }
        _ = try ConversionPlan(contents, checkpoint, recipe: .bf16, scope: .language, name: "b")
    }

    @Test func aModelHasTheNameOfItsDirectory() throws {
        for path in ["/lyra", "/lyra/", "/lyra/.", "/model_zoo/../lyra"] {
            let file = try OneFile(Golden.path("b") + path, .q8_0, scope: .language)
            #expect(try GGUFFile(path: file.path).string("general.name") == "lyra", "\(path)")
        }
    }

    // MARK: Search and interruption

    /// A file may lie in any directory, beside unrelated files.
    @Test func directoriesBesideAFileAreNotSearchedForAVocoder() throws {
        let file = try OneFile(Golden.path("b") + "/lyra", .bf16, options: CheckpointOptions())
            .changed(keeping: { !$0.hasPrefix("vocoder.") })
        let vocoder = Golden.path("b") + "/model_zoo/audio/vocoder"
        try FileManager.default.createDirectory(atPath: file.folder + "/other", withIntermediateDirectories: true)
        try FileManager.default.copyItem(atPath: vocoder, toPath: file.folder + "/other/vocoder")
        #expect(try !file.open().vocoder.isPresent)
        try FileManager.default.moveItem(atPath: file.folder + "/other", toPath: file.folder + "/model_zoo")
        #expect(try file.open().vocoder.isPresent)
        // A checkpoint directory is searched.
        let directory = try copy("b")
        try FileManager.default.removeItem(atPath: directory.folder + "/model_zoo/audio/vocoder")
        #expect(try !Checkpoint.open(directory.folder + "/lyra").vocoder.isPresent)
        try FileManager.default.copyItem(atPath: vocoder, toPath: directory.folder + "/lyra/vocoder")
        #expect(try Checkpoint.open(directory.folder + "/lyra").vocoder.isPresent)
    }

    /// Progress, which can interrupt, is reported for every layer of a tower and every searched directory.
    @Test func openingCanBeInterruptedAnywhere() throws {
        let file = try OneFile(Golden.path("b") + "/lyra", .bf16).changed(keeping: { !$0.hasPrefix("vocoder.") })
        var options = CheckpointOptions()
        options.towers = Golden.path("b") + "/model_zoo/vision"
        var reports: [Int] = []
        options.progress = { done, total in
            #expect(0...total ~= done && total > 0)
            reports.append(done)
        }
        let checkpoint = try file.open(options)
        let repeats = Dictionary(grouping: reports, by: { $0 }).mapValues(\.count), parts = Set(reports).count
        let language = checkpoint.configuration.language.layers
        #expect(repeats[0, default: 0] > 0, "the header")
        for (place, part) in [(0, "speech tower"), (1, "vision tower"), (2, "sound tower")] {
            #expect(repeats[language + place, default: 0] > 1, "\(part)")
        }
        let generator = checkpoint.generator?.configuration.layers ?? 0
        #expect(repeats[language + 3 + generator, default: 0] > 2, "the search for a vocoder")
        #expect(reports.count > parts + 8 && reports == reports.sorted())
        for end in 0..<reports.count {
            var left = end
            options.progress = { _, _ in
                if left == 0 { throw LyraError(.state, "interrupted") }
                left -= 1
            }
            #expect(throws: LyraError(.state, "interrupted")) { _ = try file.open(options) }
        }
    }
}
