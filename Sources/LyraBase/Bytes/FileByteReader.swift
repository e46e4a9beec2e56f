import Glibc

/// Reads a file or a pipe. A pipe is first copied to a temporary file, because decoders seek.
public final class FileByteReader: ByteReader {
    private let descriptor: Int32
    private let path: String

    /// Opens a regular file, or reads a FIFO, pipe, socket or device to its end. The path may be `/dev/stdin` or
    /// `/dev/fd/N`.
    ///
    /// - Parameters:
    ///   - limit: maximum bytes of a pipe
    ///   - limitName: the limit's name for messages
    ///   - interrupted: polled while the call reads a pipe or waits for it; true ends the call with `LyraError(.state)`
    /// - Throws: `LyraError(.io)` if the file cannot be opened or read, or is a directory, a disk or a device without
    ///   an end, or if the temporary file cannot be written; `.memory` if a pipe exceeds the limit; `.state` if
    ///   interrupted.
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

    /// Opens a regular file; rejects everything else.
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
        // A socket cannot be opened by its path, but its descriptor can be duplicated.
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
            throw LyraError(.io, "\(path): cannot get the type of the file: \(systemMessage(errno))")
        }
        switch status.st_mode & S_IFMT {
        case S_IFREG: return .regular
        case S_IFIFO, S_IFSOCK: return .pipe
        case S_IFCHR:
            // The memory devices (major 1) never end, except /dev/null (minor 3).
            let (major, minor) = (status.st_rdev >> 8 & 0xfff, status.st_rdev & 0xff)
            guard major != 1 || minor == 3 else {
                throw LyraError(.io, "\(path): a device that has no end; give the path of a media file")
            }
            return .pipe
        case S_IFDIR: throw LyraError(.io, "\(path): a directory; give the path of a media file")
        default: throw LyraError(.io, "\(path): neither a file nor a pipe; give the path of a media file")
        }
    }

    /// The descriptor number of a path such as /dev/fd/3; nil for other paths.
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
