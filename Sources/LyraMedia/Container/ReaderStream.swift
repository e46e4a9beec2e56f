import CFFmpeg
import Glibc
import LyraBase

/// An `AVIOContext` through which libavformat reads a `ByteReader`.
///
/// C callbacks cannot throw: `failure` keeps the first error, and every later read fails. Each read seeks first,
/// because another decoder may use the reader between two reads.
final class ReaderStream {
    private static let bufferSize: Int32 = 1 << 16

    private let reader: any ByteReader
    private let name: String
    private let interrupted: () -> Bool
    private let size: Int64
    private var position: Int64 = 0
    private(set) var failure: LyraError?
    private(set) var context: UnsafeMutablePointer<AVIOContext>?

    /// - Throws: `LyraError(.io)` if the size is negative or unknown, `.format` if there are no bytes, `.memory`.
    init(reader: any ByteReader, name: String, interrupted: @escaping () -> Bool) throws {
        self.reader = reader
        self.name = name
        self.interrupted = interrupted
        size = try reader.checkedSize(name: name)
        let buffer = av_malloc(Int(Self.bufferSize))
        context = avio_alloc_context(
            buffer?.assumingMemoryBound(to: UInt8.self), Self.bufferSize, 0,
            Unmanaged.passUnretained(self).toOpaque(),
            { data, target, count in ReaderStream.from(data)?.read(into: target, count: count) ?? lyra_av_io_error() },
            nil,
            { data, offset, whence in ReaderStream.from(data)?.seek(by: offset, from: whence) ?? -1 })
        guard buffer != nil, context != nil else {
            av_free(buffer)
            throw LyraError(.memory, "\(name): no memory to read the file")
        }
    }

    deinit {
        if let context { av_freep(&context.pointee.buffer) }
        avio_context_free(&context)
    }

    /// Throws the reader's first error, or `LyraError(.state)` if interrupted.
    func check() throws {
        if failure == nil, interrupted() { failure = LyraError(.state, "\(name): interrupted") }
        if let failure { throw failure }
    }

    private static func from(_ data: UnsafeMutableRawPointer?) -> ReaderStream? {
        data.map { Unmanaged<ReaderStream>.fromOpaque($0).takeUnretainedValue() }
    }

    private func read(into target: UnsafeMutablePointer<UInt8>?, count: Int32) -> Int32 {
        guard let target, count > 0 else { return lyra_av_io_error() }
        do {
            try check()
            let buffer = UnsafeMutableRawBufferPointer(start: target, count: Int(count))
            let filled = try reader.fill(buffer, from: position, name: name)
            position += Int64(filled)
            return filled == 0 ? lyra_av_end() : Int32(filled)
        } catch {
            failure = error as? LyraError ?? LyraError(.io, "\(name): \(error)")
            return lyra_av_io_error()
        }
    }

    private func seek(by offset: Int64, from whence: Int32) -> Int64 {
        let start: Int64
        switch whence & ~AVSEEK_FORCE {
        case AVSEEK_SIZE: return size
        case SEEK_SET: start = 0
        case SEEK_CUR: start = position
        case SEEK_END: start = size
        default: return -1
        }
        guard let target = start.checkedAdding(offset), (0...1 << 46).contains(target) else { return -1 }
        position = target
        return target
    }
}
