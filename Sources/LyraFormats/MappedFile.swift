import Glibc
import LyraBase
import LyraTensor

extension ByteCursor {
    /// Reads a byte range of a mapped file.
    ///
    /// - Parameter section: the name of the range, for messages
    /// - Throws: `LyraError.format` if the file ends before the range does.
    init(_ file: MappedFile, _ range: Range<Int>, section: String) throws {
        guard range.lowerBound >= 0, range.upperBound <= file.bytes.count else {
            throw LyraError(
                .format,
                "\(file.path): \(section) should be at bytes \(range), beyond the end of the file at "
                    + "\(file.bytes.count): the file is damaged or truncated")
        }
        self.init(
            UnsafeRawBufferPointer(rebasing: file.bytes[range]), at: range.lowerBound, source: file.path,
            section: section)
    }
}

/// The bytes of a regular file, mapped read-only, or of a file that was compiled into the program. The system loads
/// pages when they are read, and may drop them again.
///
/// If the file is truncated while it is mapped, a read beyond the new end is fatal (SIGBUS). Replace a checkpoint by
/// renaming, not by writing into it.
public final class MappedFile: @unchecked Sendable {
    /// The path of the file, or the name of a file inside the program.
    public let path: String
    /// Identifies the mapped file, even after its name was given to another file; nil for a file inside the program.
    public let identity: FileIdentity?
    /// All bytes of the file, valid as long as this object lives.
    public let bytes: UnsafeRawBufferPointer

    /// Maps the file at `path`.
    ///
    /// - Throws: `.missing` when there is no such file; `.io` when it cannot be opened or mapped or is not a regular
    ///   file; `.memory` when the process has no address space for the mapping; `.argument` for an empty path or one
    ///   with a zero byte.
    public init(path: String) throws {
        let (descriptor, size, identity) = try FileSystem.openForReading(path)
        defer { close(descriptor) }
        self.path = path
        self.identity = identity
        guard size > 0 else {
            bytes = UnsafeRawBufferPointer(start: nil, count: 0)
            return
        }
        var code: Int32 = 0
        let start = retryingAllocation { () -> UnsafeMutableRawPointer? in
            let start = mmap(nil, size, PROT_READ, MAP_PRIVATE, descriptor, 0)
            code = errno
            return start == MAP_FAILED ? nil : start
        }
        guard let start else {
            throw LyraError(
                code == ENOMEM ? .memory : .io, "\(path): cannot map \(size) bytes: \(systemMessage(code))")
        }
        bytes = UnsafeRawBufferPointer(start: start, count: size)
    }

    /// A file that was compiled into the program.
    ///
    /// - Parameters:
    ///   - name: Stands in messages where a path would.
    ///   - bytes: Constant, and valid until the process ends.
    public init(name: String, compiledIn bytes: UnsafeRawBufferPointer) {
        (path, identity, self.bytes) = (name, nil, bytes)
    }

    deinit {
        guard identity != nil, let start = bytes.baseAddress else { return }
        munmap(UnsafeMutableRawPointer(mutating: start), bytes.count)
    }

    /// Whether the file begins with these characters.
    public func starts(with text: String) -> Bool {
        withExtendedLifetime(self) { bytes.starts(with: text.utf8) }
    }

    /// Releases the resident pages to the system; a later read loads them from the file again.
    /// Nothing happens to a file inside the program, whose pages may not be loadable again.
    public func dropResidentPages() {
        if identity != nil, let start = bytes.baseAddress {
            madvise(UnsafeMutableRawPointer(mutating: start), bytes.count, MADV_DONTNEED)
        }
    }

    /// Releases the resident pages that lie completely inside `part`, except for a file inside the program.
    public func dropResidentPages(of part: UnsafeRawBufferPointer) {
        guard identity != nil, let start = bytes.baseAddress, let partStart = part.baseAddress else { return }
        let page = Int(getpagesize()), offset = partStart - start
        let first = (offset + page - 1) / page * page, last = (offset + part.count) / page * page
        guard offset >= 0, last > first, last <= bytes.count else { return }
        madvise(UnsafeMutableRawPointer(mutating: start + first), last - first, MADV_DONTNEED)
    }

    /// Reads a whole small file into an array. Swift ends the process if an array gets no memory.
    ///
    /// - Throws: As `buffer` does.
    public static func contents(path: String, limit: Int) throws -> [UInt8] {
        let content = try buffer(path: path, limit: limit)
        return withExtendedLifetime(content) { Array(content.elements) }
    }

    /// Reads a whole file into memory.
    ///
    /// - Parameter limit: The most bytes that the file may have.
    /// - Throws: As `init(path:)`; `.format` when the file is longer than `limit`; `.memory` when there is no room for
    ///   it.
    public static func buffer(path: String, limit: Int) throws -> GrowingBuffer<UInt8> {
        let (descriptor, size, _) = try FileSystem.openForReading(path)
        defer { close(descriptor) }
        guard size <= limit else {
            throw LyraError(.format, "\(path): the file has \(size) bytes; at most \(limit) are allowed")
        }
        let content = GrowingBuffer<UInt8>()
        try content.resize(to: size)
        var filled = 0
        while filled < size {
            let got = read(descriptor, content.elements.baseAddress.map { $0 + filled }, size - filled)
            if got == 0 { break }
            if got > 0 {
                filled += got
            } else if errno != EINTR {
                throw LyraError(.io, "\(path): cannot read at byte \(filled): \(systemMessage())")
            }
        }
        content.truncate(to: filled)
        return content
    }
}

extension StoredTensor {
    /// Releases the tensor's resident pages if it lies in a mapped file; a later read loads them again.
    public func dropResidentPages() { (owner as? MappedFile)?.dropResidentPages(of: bytes) }
}
