import Foundation
import LyraBase
import TestSupport
import Testing

@testable import LyraModel

/// A copy of a fixture's model whose files can be changed.
final class CheckpointCopy {
    let root = NSTemporaryDirectory() + "lyra-checkpoint-\(UUID().uuidString)"
    var model: String { root + "/lyra" }

    init(_ name: String, zoo: Bool = true) throws {
        try FileManager.default.createDirectory(atPath: root, withIntermediateDirectories: true)
        for part in ["lyra"] + (zoo ? ["model_zoo"] : []) {
            try FileManager.default.copyItem(atPath: Golden.path(name) + "/" + part, toPath: root + "/" + part)
        }
    }

    func open(_ options: CheckpointOptions = CheckpointOptions()) throws -> Checkpoint {
        try withExtendedLifetime(self) { try Checkpoint.open(model, options: options) }
    }

    deinit { try? FileManager.default.removeItem(atPath: root) }

    /// Replaces `old` by `new` in a text file.
    ///
    /// - Parameter first: replaces only the first occurrence
    func edit(_ file: String, _ old: String, _ new: String, first: Bool = false) throws {
        let text = try String(contentsOfFile: root + "/" + file, encoding: .utf8)
        let place = try #require(text.range(of: old), "\(file) does not contain \(old)")
        let edited =
            first ? text.replacingCharacters(in: place, with: new) : text.replacingOccurrences(of: old, with: new)
        try edited.write(toFile: root + "/" + file, atomically: true, encoding: .utf8)
    }
}

/// Checks that opening the copy fails with this code and a message that contains all of `parts`.
func expect(
    _ code: LyraError.Code, _ parts: String..., open copy: CheckpointCopy, at place: SourceLocation = #_sourceLocation
) {
    do {
        _ = try copy.open()
        Issue.record("it opened", sourceLocation: place)
    } catch let error as LyraError {
        #expect(error.code == code, "\(error.message)", sourceLocation: place)
        for part in parts { #expect(error.message.contains(part), "\(error.message)", sourceLocation: place) }
    } catch {
        Issue.record("\(error)")
    }
}
