import Foundation
import LyraModel
import LyraTools
import TestSupport

@testable import Lyra

/// A converted fixture in a directory of its own, which is removed with the last reference.
final class ConvertedFixture {
    let folder = NSTemporaryDirectory() + "lyra-turn-\(UUID().uuidString)"
    let golden: Golden

    init(_ golden: Golden, _ recipe: Recipe) throws {
        self.golden = golden
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        let converter = try ModelConverter(
            path: Golden.path(golden.name) + "/lyra", options: CheckpointOptions(), recipe: recipe)
        _ = try converter.write(to: path)
    }

    var path: String { folder + "/model.gguf" }

    deinit { try? FileManager.default.removeItem(atPath: folder) }

    func session() throws -> Session {
        var options = SessionOptions()
        options.sampling = .greedy
        options.maxNewTokens = 12
        options.speaks = true
        return try withExtendedLifetime(self) { try Session(Model(path: path), options: options) }
    }
}
