import Foundation
import LyraBase
import Testing

/// A file in a folder of its own, removed with the object.
final class TemporaryFile {
    let folder = NSTemporaryDirectory() + "/lyra-datasets-\(UUID().uuidString)"
    let path: String

    init(_ content: some Sequence<UInt8>) throws {
        path = folder + "/data.json"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        try Data(content).write(to: URL(fileURLWithPath: path))
    }

    convenience init(_ text: String) throws { try self.init(text.utf8) }

    deinit { try? FileManager.default.removeItem(atPath: folder) }
}

/// The error that `body` throws; records an issue when it throws none, or one of another type.
func lyraError(_ body: () throws -> Void) -> LyraError {
    do {
        try body()
        Issue.record("no error was thrown")
    } catch let error as LyraError {
        return error
    } catch {
        Issue.record("not a LyraError: \(error)")
    }
    return LyraError(.closed, "")
}
