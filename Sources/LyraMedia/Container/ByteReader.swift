import Glibc
import LyraBase

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

extension ByteReader {
    /// Reads from `offset` until `buffer` is full or the bytes end, wherever the reader was before.
    /// - Returns: The number of bytes read.
    /// - Throws: `LyraError`, made of the reader's error, that names `name` and the place.
    func fill(_ buffer: UnsafeMutableRawBufferPointer, from offset: Int64, name: String) throws -> Int {
        do {
            try seek(to: offset)
            var filled = 0
            while filled < buffer.count {
                let rest = UnsafeMutableRawBufferPointer(rebasing: buffer[filled...])
                let got = try read(into: rest)
                guard got >= 0, got <= rest.count else {
                    throw LyraError(.io, "\(name): the reader says it read \(got) bytes into room for \(rest.count)")
                }
                if got == 0 { break }
                filled += got
            }
            return filled
        } catch let error as LyraError {
            throw error
        } catch {
            throw LyraError(.io, "\(name): reading at byte \(offset) failed: \(error)")
        }
    }

    /// The size, at most 64 TiB: far over any file, and safe to add to.
    /// - Throws: `LyraError(.io)` if it is negative or cannot be had, `.format` if there are no bytes.
    func checkedSize(name: String) throws -> Int64 {
        let stated: Int64
        do {
            stated = try size
        } catch let error as LyraError {
            throw error
        } catch {
            throw LyraError(.io, "\(name): finding the size failed: \(error)")
        }
        guard stated >= 0 else { throw LyraError(.io, "\(name): the reader says its size is \(stated) bytes") }
        guard stated > 0 else { throw LyraError(.format, "\(name): empty: 0 bytes") }
        return min(stated, 1 << 46)
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
