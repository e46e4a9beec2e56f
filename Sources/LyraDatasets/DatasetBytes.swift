import LyraBase
import LyraFormats
import Synchronization

/// A data set's file. Several threads can read it.
final class DatasetBytes: @unchecked Sendable {
    let path: String
    private let reader: FileByteReader
    /// Held while the reader seeks and reads.
    private let isReading = Mutex(())

    /// - Throws: `LyraError` if there is no such regular file.
    init(path: String) throws {
        try FileSystem.checkPath(path)
        guard try !FileSystem.isDirectory(path) else {
            throw LyraError(.io, "\(path): a directory; give the path of a JSON or JSON-lines file")
        }
        self.path = path
        reader = try FileByteReader(regularFile: path)
    }

    /// At most `count` bytes from `offset` on; fewer only at the end of the file.
    func read(at offset: Int64, count: Int) throws -> [UInt8] {
        try isReading.withLock { _ in try reader.peek(offset, count, name: path) }
    }
}
