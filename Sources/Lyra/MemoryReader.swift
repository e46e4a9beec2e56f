import Glibc
import LyraMedia
import LyraBase

/// A copy of a file's bytes in memory that is allowed to fail.
final class MemoryReader: ByteReader {
    private let bytes: UnsafeMutableRawBufferPointer
    private var offset = 0

    /// - Throws: `LyraError.memory` if there is no room for the copy.
    init(copying source: UnsafeRawBufferPointer) throws {
        guard let memory = malloc(max(source.count, 1)) else {
            throw LyraError(.memory, "no memory for a copy of \(source.count) bytes; feed the file or a reader instead")
        }
        bytes = UnsafeMutableRawBufferPointer(start: memory, count: source.count)
        bytes.copyMemory(from: source)
    }

    deinit { free(bytes.baseAddress) }

    func read(into buffer: UnsafeMutableRawBufferPointer) -> Int {
        let count = min(buffer.count, bytes.count - offset)
        buffer.copyMemory(from: UnsafeRawBufferPointer(rebasing: bytes[offset..<offset + count]))
        offset += count
        return count
    }

    func seek(to offset: Int64) { self.offset = Int(min(max(offset, 0), Int64(bytes.count))) }

    var size: Int64 { Int64(bytes.count) }
}
