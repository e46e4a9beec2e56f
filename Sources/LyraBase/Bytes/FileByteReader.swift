import Glibc

/// A file, or what a pipe gives: that is copied to a temporary file first, since decoders go back and forth.
public final class FileByteReader: ByteReader {
    private let descriptor: Int32
    private let path: String

    /// Opens a regular file; or reads a FIFO, a pipe, a socket or a device to its end. `/dev/stdin` and `/dev/fd/N` are
    /// paths like others.
    ///
    /// - Parameters:
    ///   - limit: the most bytes that a pipe may give
    ///   - limitName: what a message calls the limit
    ///   - interrupted: asked while a pipe is read or waited for; true ends the call with `LyraError(.state)`
    /// - Throws: `LyraError(.io)` if it cannot be opened or read, is a directory, a disk or a device without an end, or
    ///   if the temporary file has no room; `.memory` if it gives more than the limit; `.state` if interrupted.
    public init(path: String, limit: Int, limitName: String, interrupted: () -> Bool) throws {
        let (opened, kind) = try Self.open(path)
        self.path = path
        guard kind == .pipe else {
            descriptor = opened
            return
        }
        defer { close(opened) }
        descriptor = try Spool(name: path, limit: limit, limitName: limitName).copy(opened) {
            if interrupted() { throw LyraError(.state, "\(path): interrupted") }
        }
    }

    /// Opens a regular file, and nothing else.
    /// - Throws: `LyraError(.io)`.
    public init(regularFile path: String) throws {
        let (opened, kind) = try Self.open(path)
        guard kind == .regular else {
            close(opened)
            throw LyraError(.io, "\(path): not a regular file")
        }
        (descriptor, self.path) = (opened, path)
    }

    deinit { close(descriptor) }

    private enum Kind { case regular, pipe }

    private static func open(_ path: String) throws -> (Int32, Kind) {
        // Without O_NONBLOCK, opening a FIFO waits until it has a writer.
        var descriptor = withSystemPath(path) { Glibc.open($0, O_RDONLY | O_CLOEXEC | O_NONBLOCK) }
        // A socket has no path that can be opened, but a descriptor.
        if descriptor < 0, errno == ENXIO, let number = descriptorNumber(path) {
            descriptor = fcntl(number, F_DUPFD_CLOEXEC, 0)
        }
        guard descriptor >= 0 else {
            throw LyraError(.io, "\(path): cannot open the file: \(systemMessage(errno))")
        }
        do { return (descriptor, try kind(of: descriptor, path)) } catch {
            close(descriptor)
            throw error
        }
    }

    private static func kind(of descriptor: Int32, _ path: String) throws -> Kind {
        var status = stat()
        guard fstat(descriptor, &status) == 0 else {
            throw LyraError(.io, "\(path): cannot find out what it is: \(systemMessage(errno))")
        }
        switch status.st_mode & S_IFMT {
        case S_IFREG: return .regular
        case S_IFIFO, S_IFSOCK: return .pipe
        case S_IFCHR:
            // The kernel's memory devices but /dev/null (major 1, minor 3) give bytes for ever.
            let (major, minor) = (status.st_rdev >> 8 & 0xfff, status.st_rdev & 0xff)
            guard major != 1 || minor == 3 else {
                throw LyraError(.io, "\(path): a device that has no end; give the path of a media file")
            }
            return .pipe
        case S_IFDIR: throw LyraError(.io, "\(path): a directory; give the path of a media file")
        default: throw LyraError(.io, "\(path): neither a file nor a pipe; give the path of a media file")
        }
    }

    /// The descriptor that a path stands for.
    private static func descriptorNumber(_ path: String) -> Int32? {
        if path == "/dev/stdin" { return STDIN_FILENO }
        for prefix in ["/dev/fd/", "/proc/self/fd/"] where path.hasPrefix(prefix) {
            return Int32(path.dropFirst(prefix.count))
        }
        return nil
    }

    public var size: Int64 {
        get throws {
            var status = stat()
            guard fstat(descriptor, &status) == 0 else {
                throw LyraError(.io, "\(path): cannot find the file's size: \(systemMessage(errno))")
            }
            return Int64(status.st_size)
        }
    }

    public func read(into buffer: UnsafeMutableRawBufferPointer) throws -> Int {
        while true {
            let count = Glibc.read(descriptor, buffer.baseAddress, buffer.count)
            if count >= 0 { return count }
            guard errno == EINTR else {
                throw LyraError(.io, "\(path): cannot read the file: \(systemMessage(errno))")
            }
        }
    }

    public func seek(to offset: Int64) throws {
        guard lseek(descriptor, off_t(offset), SEEK_SET) >= 0 else {
            throw LyraError(.io, "\(path): cannot move to byte \(offset): \(systemMessage(errno))")
        }
    }
}
