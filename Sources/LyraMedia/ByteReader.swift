import Glibc
import LyraTensor

/// Bytes that are read on demand: a file, a buffer, or whatever the caller has.
///
/// One thread uses a reader at a time. A reader may give fewer bytes than it was asked for; 0 means the end. It is never
/// trusted: a count outside the buffer is an error, and `size` is only a hint of where the end is.
public protocol ByteReader: AnyObject {
    /// Reads at most `buffer.count` bytes from the current offset and moves past them.
    /// - Returns: The number of bytes read; 0 at the end.
    func read(into buffer: UnsafeMutableRawBufferPointer) throws -> Int

    /// Moves to `offset` bytes from the start. `offset` is never negative, but may lie past the end.
    func seek(to offset: Int64) throws

    /// Length in bytes.
    var size: Int64 { get throws }
}

/// A regular file.
final class FileByteReader: ByteReader {
    private let descriptor: Int32
    private let path: String

    /// - Throws: `LyraError(.io)` if the file cannot be opened or is not a regular file.
    init(path: String) throws {
        // Without O_NONBLOCK, opening a FIFO that nobody writes to would never return.
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else {
            throw LyraError(.io, "\(path): cannot open the file: \(systemReason(errno))")
        }
        var status = stat()
        guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
            close(descriptor)
            throw LyraError(.io, "\(path): not a regular file; give the path of an audio file")
        }
        self.descriptor = descriptor
        self.path = path
    }

    deinit { close(descriptor) }

    var size: Int64 {
        get throws {
            var status = stat()
            guard fstat(descriptor, &status) == 0 else {
                throw LyraError(.io, "\(path): cannot find the file's size: \(systemReason(errno))")
            }
            return Int64(status.st_size)
        }
    }

    func read(into buffer: UnsafeMutableRawBufferPointer) throws -> Int {
        while true {
            let count = Glibc.read(descriptor, buffer.baseAddress, buffer.count)
            if count >= 0 { return count }
            guard errno == EINTR else {
                throw LyraError(.io, "\(path): cannot read the file: \(systemReason(errno))")
            }
        }
    }

    func seek(to offset: Int64) throws {
        guard lseek(descriptor, off_t(offset), SEEK_SET) >= 0 else {
            throw LyraError(.io, "\(path): cannot move to byte \(offset): \(systemReason(errno))")
        }
    }
}

/// Bytes that lie in memory.
final class MemoryByteReader: ByteReader {
    private let bytes: [UInt8]
    private var offset = 0

    init(bytes: [UInt8]) { self.bytes = bytes }

    var size: Int64 { Int64(bytes.count) }

    func read(into buffer: UnsafeMutableRawBufferPointer) -> Int {
        let count = min(buffer.count, bytes.count - offset)
        guard count > 0 else { return 0 }
        bytes.withUnsafeBytes { buffer.copyMemory(from: UnsafeRawBufferPointer(rebasing: $0[offset..<offset + count])) }
        offset += count
        return count
    }

    func seek(to offset: Int64) { self.offset = Int(min(max(offset, 0), Int64(bytes.count))) }
}

/// What the operating system says about an error number, in a buffer of our own: strerror's is shared by all threads.
func systemReason(_ code: Int32) -> String {
    withUnsafeTemporaryAllocation(of: CChar.self, capacity: 256) { buffer in
        buffer.initialize(repeating: 0)
        guard let base = buffer.baseAddress, strerror_r(code, base, buffer.count) == 0 else { return "error \(code)" }
        return String(cString: base)
    }
}
