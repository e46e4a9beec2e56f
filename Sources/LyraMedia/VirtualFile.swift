import CSndfile
import Glibc
import LyraTensor

/// A `ByteReader` as libsndfile sees one: read, seek, tell and length, called from C.
///
/// Nothing is thrown through C: the first error is kept in `failure` and every later read gives 0 bytes.
final class VirtualFile {
    /// Lengths above this (64 TiB) are taken for this: far over any file, and safe to add to.
    private static let largestSize: Int64 = 1 << 46

    private let reader: any ByteReader
    private let name: String
    /// Bytes of the reader that libsndfile does not see.
    private var skipped: Int64 = 0
    private var size: Int64
    /// Where libsndfile is, counted from `skipped`; the reader is moved only when it is read from.
    private var position: Int64 = 0
    private var readerPosition: Int64?
    private(set) var failure: LyraError?

    /// - Throws: `LyraError(.io)` if the size is negative or cannot be had; `LyraError(.format)` if there are no bytes.
    init(reader: any ByteReader, name: String) throws {
        self.reader = reader
        self.name = name
        let size: Int64
        do { size = try reader.size } catch { throw Self.wrap(error, name: name, doing: "finding the size") }
        guard size >= 0 else { throw LyraError(.io, "\(name): the reader says its size is \(size) bytes") }
        guard size > 0 else { throw LyraError(.format, "\(name): empty: 0 bytes, no audio in them") }
        self.size = min(size, Self.largestSize)
    }

    /// Reads at most `count` bytes from the beginning, and goes back there.
    func beginning(_ count: Int) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: count)
        position = 0
        let filled = bytes.withUnsafeMutableBytes { read(into: $0.baseAddress, count: Int64(count)) }
        position = 0
        return Array(bytes[..<Int(filled)])
    }

    /// Makes the file begin `count` bytes later.
    func skip(_ count: Int) {
        skipped += Int64(count)
        size = max(size - Int64(count), 0)
        position = 0
        readerPosition = nil
    }

    /// The functions for `sf_open_virtual`; their last argument is a `VirtualFile`, not retained.
    static func callbacks() -> SF_VIRTUAL_IO {
        SF_VIRTUAL_IO(
            get_filelen: { VirtualFile.from($0)?.size ?? -1 },
            seek: { offset, whence, data in VirtualFile.from(data)?.seek(by: offset, from: whence) ?? -1 },
            read: { target, count, data in VirtualFile.from(data)?.read(into: target, count: count) ?? 0 },
            write: { _, _, _ in 0 },
            tell: { VirtualFile.from($0)?.position ?? -1 })
    }

    private static func from(_ data: UnsafeMutableRawPointer?) -> VirtualFile? {
        data.map { Unmanaged<VirtualFile>.fromOpaque($0).takeUnretainedValue() }
    }

    private func seek(by offset: Int64, from whence: Int32) -> Int64 {
        let start: Int64
        switch whence {
        case SEEK_SET: start = 0
        case SEEK_CUR: start = position
        case SEEK_END: start = size
        default: return -1
        }
        let (target, overflow) = start.addingReportingOverflow(offset)
        guard !overflow, target >= 0, target <= Self.largestSize else { return -1 }
        position = target
        return target
    }

    private func read(into target: UnsafeMutableRawPointer?, count: Int64) -> Int64 {
        guard failure == nil, let target, count > 0 else { return 0 }
        let buffer = UnsafeMutableRawBufferPointer(start: target, count: Int(count))
        var filled = 0
        do {
            if readerPosition != position {
                try reader.seek(to: skipped + position)
                readerPosition = position
            }
            while filled < buffer.count {
                let rest = UnsafeMutableRawBufferPointer(rebasing: buffer[filled...])
                let got = try reader.read(into: rest)
                guard got >= 0, got <= rest.count else {
                    throw LyraError(.io, "\(name): the reader says it read \(got) bytes into room for \(rest.count)")
                }
                if got == 0 { break }
                filled += got
            }
        } catch {
            failure = Self.wrap(error, name: name, doing: "reading at byte \(skipped + position)")
            readerPosition = nil
        }
        position = min(position + Int64(filled), Self.largestSize)
        if readerPosition != nil { readerPosition = position }
        return Int64(filled)
    }

    private static func wrap(_ error: any Error, name: String, doing what: String) -> LyraError {
        (error as? LyraError) ?? LyraError(.io, "\(name): \(what) failed: \(error)")
    }
}
