/// A source of bytes that lyra reads on demand: a file, a buffer, or the caller's own storage.
///
/// lyra calls a reader from one thread at a time. A reader may return fewer bytes than requested; 0 means the end. lyra
/// checks every result: a count larger than the buffer is an error, and `size` is only a hint of the end.
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
    /// Reads from `offset` until `buffer` is full or the data ends. The reader's previous position does not matter.
    /// - Returns: The number of bytes read.
    /// - Throws: the reader's own `LyraError`; `LyraError.io`, with `name` and the offset, for any other error.
    package func fill(_ buffer: UnsafeMutableRawBufferPointer, from offset: Int64, name: String) throws -> Int {
        do {
            try seek(to: offset)
            var filled = 0
            while filled < buffer.count {
                let rest = UnsafeMutableRawBufferPointer(rebasing: buffer[filled...])
                let got = try read(into: rest)
                guard got >= 0, got <= rest.count else {
                    throw LyraError(.io, "\(name): the reader returned \(got) bytes for a buffer of \(rest.count)")
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

    /// The size, clamped to 64 TiB: larger than any real file, and too small for sums to overflow.
    /// - Throws: `LyraError(.io)` if the size is negative or unknown, `.format` if it is 0.
    package func checkedSize(name: String) throws -> Int64 {
        let stated: Int64
        do {
            stated = try size
        } catch let error as LyraError {
            throw error
        } catch {
            throw LyraError(.io, "\(name): finding the size failed: \(error)")
        }
        guard stated >= 0 else { throw LyraError(.io, "\(name): the reader returned a size of \(stated) bytes") }
        guard stated > 0 else { throw LyraError(.format, "\(name): empty: 0 bytes") }
        return min(stated, 1 << 46)
    }
}

extension ByteReader {
    /// At most `count` bytes from `offset` on, in memory whose allocation can fail.
    ///
    /// - Throws: the errors of `fill`; `LyraError.memory` if there is no room.
    package func piece(_ offset: Int64, _ count: Int, name: String) throws -> GrowingBuffer<UInt8> {
        let bytes = GrowingBuffer<UInt8>()
        try bytes.resize(to: count)
        bytes.truncate(to: try fill(UnsafeMutableRawBufferPointer(bytes.elements), from: offset, name: name))
        return bytes
    }

    /// At most `count` bytes from `offset` on, as an array: for short headers.
    package func peek(_ offset: Int64, _ count: Int, name: String) throws -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: count)
        let filled = try bytes.withUnsafeMutableBytes { try fill($0, from: offset, name: name) }
        return filled == count ? bytes : Array(bytes[..<filled])
    }
}
