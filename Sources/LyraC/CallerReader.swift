import LyraBase
import CLyra
import Lyra

/// A caller's reader struct as a source of bytes. Its close function is called once, when the last reference is
/// released.
final class CallerReader: ByteReader {
    private let reader: lyra_reader

    /// Takes ownership of the reader. If the reader is rejected, its close function is called at once.
    ///
    /// - Throws: `LyraError.argument` if a required function is null.
    static func adopt(_ reader: lyra_reader) throws -> CallerReader {
        let adopted = CallerReader(reader)
        _ = try required(reader.read, "reader.read")
        _ = try required(reader.seek, "reader.seek")
        _ = try required(reader.length, "reader.length")
        return adopted
    }

    private init(_ reader: lyra_reader) { self.reader = reader }

    deinit { CallingThread.call { reader.close?(reader.user) } }

    func read(into buffer: UnsafeMutableRawBufferPointer) throws -> Int {
        let count = CallingThread.call { reader.read?(reader.user, buffer.baseAddress, buffer.count) ?? -1 }
        guard count >= 0, count <= Int64(buffer.count) else {
            throw LyraError(.io, "the reader's read function returned \(count) for a request of \(buffer.count) bytes")
        }
        return Int(count)
    }

    func seek(to offset: Int64) throws {
        let reached = CallingThread.call { reader.seek?(reader.user, offset) ?? -1 }
        guard reached == offset else {
            throw LyraError(.io, "the reader's seek function returned \(reached) for offset \(offset)")
        }
    }

    var size: Int64 {
        get throws {
            let size = CallingThread.call { reader.length?(reader.user) ?? -1 }
            guard size >= 0 else { throw LyraError(.io, "the reader's length function returned \(size)") }
            return size
        }
    }
}
