import CLyra
import Lyra

/// A caller's reader struct as a source of bytes; its close function is called once, with the last reference.
final class CallerReader: ByteReader {
    private let reader: lyra_reader
    private let readBytes: @convention(c) (UnsafeMutableRawPointer?, UnsafeMutableRawPointer?, Int) -> Int64
    private let seekTo: @convention(c) (UnsafeMutableRawPointer?, Int64) -> Int64
    private let length: @convention(c) (UnsafeMutableRawPointer?) -> Int64

    init(_ reader: lyra_reader) throws {
        self.reader = reader
        readBytes = try required(reader.read, "reader.read")
        seekTo = try required(reader.seek, "reader.seek")
        length = try required(reader.length, "reader.length")
    }

    deinit { reader.close?(reader.user) }

    func read(into buffer: UnsafeMutableRawBufferPointer) throws -> Int {
        let count = readBytes(reader.user, buffer.baseAddress, buffer.count)
        guard count >= 0, count <= Int64(buffer.count) else {
            throw LyraError(.io, "the reader's read function returned \(count) when asked for \(buffer.count) bytes")
        }
        return Int(count)
    }

    func seek(to offset: Int64) throws {
        let reached = seekTo(reader.user, offset)
        guard reached == offset else {
            throw LyraError(.io, "the reader's seek function returned \(reached) when asked for offset \(offset)")
        }
    }

    var size: Int64 {
        get throws {
            let size = length(reader.user)
            guard size >= 0 else { throw LyraError(.io, "the reader's length function returned \(size)") }
            return size
        }
    }
}
