import CMpg123
import CSndfile
import Glibc
import LyraBase

/// The callbacks through which libsndfile and libmpg123 read a `ByteReader`: read, seek, tell and length.
///
/// C callbacks cannot throw: `failure` keeps the first error, and every later read returns 0 bytes. Each read seeks
/// first, because another decoder may use the reader between two reads.
final class VirtualFile {
    let reader: any ByteReader
    private let name: String
    private let size: Int64
    private(set) var position: Int64 = 0
    private(set) var failure: LyraError?

    /// Whether reads return the chunk name "LIST" as "LISX", an unknown chunk that libsndfile skips. libsndfile 1.2
    /// loops forever in a list with a chunk of almost 4 GB, and lyra needs no texts.
    var hidesLists = false

    /// - Throws: `LyraError(.io)` if the size is negative or unknown; `LyraError(.format)` if there are no bytes.
    init(reader: any ByteReader, name: String) throws {
        self.reader = reader
        self.name = name
        size = try reader.checkedSize(name: name)
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

    /// Opens a handle of libmpg123 on this file. The file must outlive the handle.
    func open(_ handle: OpaquePointer) -> Int32 {
        lyra_mpg123_open(
            handle, Unmanaged.passUnretained(self).toOpaque(),
            { data, target, count in
                guard let file = VirtualFile.from(data) else { return -1 }
                let got = file.read(into: target, count: Int64(clamping: count))
                return file.failure == nil ? Int(got) : -1
            },
            { data, offset, whence in
                off_t(VirtualFile.from(data)?.seek(by: Int64(offset), from: whence) ?? -1)
            })
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
        guard let target = start.checkedAdding(offset), (0...1 << 46).contains(target) else { return -1 }
        position = target
        return target
    }

    private func read(into target: UnsafeMutableRawPointer?, count: Int64) -> Int64 {
        guard failure == nil, let target, count > 0 else { return 0 }
        let buffer = UnsafeMutableRawBufferPointer(start: target, count: Int(count))
        do {
            let filled = Int64(try reader.fill(buffer, from: position, name: name))
            if hidesLists { try hideLists(in: UnsafeMutableRawBufferPointer(rebasing: buffer[..<Int(filled)])) }
            position += filled
            return filled
        } catch {
            failure = error as? LyraError ?? LyraError(.io, "\(name): \(error)")
            return 0
        }
    }

    /// Changes the last letter of each chunk name "LIST" that ends in the bytes just read. libsndfile reads a chunk
    /// name in one read of four bytes, or the rest of it in a shorter one; longer reads are no chunk names.
    private func hideLists(in bytes: UnsafeMutableRawBufferPointer) throws {
        guard bytes.count <= 4, bytes.contains(UInt8(ascii: "T")) else { return }
        let start = max(0, position - 3)
        var around = [UInt8](repeating: 0, count: Int(position - start) + bytes.count)
        let count = try around.withUnsafeMutableBytes { try reader.fill($0, from: start, name: name) }
        for end in around.indices.prefix(count).dropFirst(3) where around[(end - 3)...end].elementsEqual("LIST".utf8) {
            let offset = end - Int(position - start)
            if offset >= 0 { bytes[offset] = UInt8(ascii: "X") }
        }
    }
}
