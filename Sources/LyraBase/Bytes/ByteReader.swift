/// Bytes that are read on demand: a file, a buffer, or whatever the caller has.
///
/// One thread uses a reader at a time. A reader may return fewer bytes than requested; 0 means the end. Callers never
/// trust a reader: a count outside the buffer is an error, and `size` is only a hint of where the end is.
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
    package func fill(_ buffer: UnsafeMutableRawBufferPointer, from offset: Int64, name: String) throws -> Int {
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
    package func checkedSize(name: String) throws -> Int64 {
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

extension ByteReader {
    /// At most `count` bytes from `offset` on, in memory from an allocator that can say no.
    ///
    /// - Throws: as `fill` does; `LyraError.memory` if there is no room.
    package func piece(_ offset: Int64, _ count: Int, name: String) throws -> GrowingBuffer<UInt8> {
        let bytes = GrowingBuffer<UInt8>()
        try bytes.resize(to: count)
        bytes.truncate(to: try fill(UnsafeMutableRawBufferPointer(bytes.elements), from: offset, name: name))
        return bytes
    }

    /// At most `count` bytes from `offset` on, for looking at a few of them.
    package func peek(_ offset: Int64, _ count: Int, name: String) throws -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: count)
        let filled = try bytes.withUnsafeMutableBytes { try fill($0, from: offset, name: name) }
        return filled == count ? bytes : Array(bytes[..<filled])
    }
}
