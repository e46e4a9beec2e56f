import Glibc
import LyraBase

/// A file, or what a pipe gives: that is copied to a temporary file first, since decoders go back and forth.
public final class FileByteReader: ByteReader {
    private let descriptor: Int32
    private let path: String

    /// Opens a regular file; or reads a FIFO, a pipe, a socket or a device to its end. `/dev/stdin` and `/dev/fd/N` are paths
    /// like others.
    ///
    /// - Parameters:
    ///   - limits: Of them, `spoolBytes` bounds what a pipe may give.
    ///   - interrupted: Asked while a pipe is read or waited for; true ends the call with `LyraError(.state)`.
    /// - Throws: `LyraError(.io)` if it cannot be opened or read, is a directory, a disk or a device without an end, or if the
    ///   temporary file has no room; `.memory` if it gives more than the limit; `.state` if interrupted.
    public init(
        path: String, limits: MediaLimits = MediaLimits(), interrupted: () -> Bool = { false }
    ) throws {
        let (opened, kind) = try Self.open(path)
        self.path = path
        guard kind == .pipe else {
            descriptor = opened
            return
        }
        defer { close(opened) }
        descriptor = try withoutActuallyEscaping(interrupted) {
            try Spool(name: path, limit: limits.spoolBytes, interrupted: $0).copy(opened)
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
            throw LyraError(.io, "\(path): cannot open the file: \(systemReason(errno))")
        }
        do { return (descriptor, try kind(of: descriptor, path)) } catch {
            close(descriptor)
            throw error
        }
    }

    private static func kind(of descriptor: Int32, _ path: String) throws -> Kind {
        var status = stat()
        guard fstat(descriptor, &status) == 0 else {
            throw LyraError(.io, "\(path): cannot find out what it is: \(systemReason(errno))")
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
                throw LyraError(.io, "\(path): cannot find the file's size: \(systemReason(errno))")
            }
            return Int64(status.st_size)
        }
    }

    public func read(into buffer: UnsafeMutableRawBufferPointer) throws -> Int {
        while true {
            let count = Glibc.read(descriptor, buffer.baseAddress, buffer.count)
            if count >= 0 { return count }
            guard errno == EINTR else {
                throw LyraError(.io, "\(path): cannot read the file: \(systemReason(errno))")
            }
        }
    }

    public func seek(to offset: Int64) throws {
        guard lseek(descriptor, off_t(offset), SEEK_SET) >= 0 else {
            throw LyraError(.io, "\(path): cannot move to byte \(offset): \(systemReason(errno))")
        }
    }
}

/// Copies what a pipe gives to a temporary file that has no name, in the directory that TMPDIR names, or /tmp.
private struct Spool {
    private static let pieceLength = 1 << 16
    /// How long a pipe is waited for before the caller is asked again, in milliseconds.
    private static let patience: Int32 = 50

    let name: String
    /// In bytes.
    let limit: Int
    let interrupted: () -> Bool

    /// - Returns: The temporary file's descriptor.
    func copy(_ source: Int32) throws -> Int32 {
        let directory = getenv("TMPDIR").map { String(cString: $0) } ?? ""
        let place = directory.isEmpty ? "/tmp" : directory
        let target = Self.temporary(in: place)
        guard target >= 0 else {
            throw LyraError(
                .io, "\(name): cannot make a temporary file in \(place) (TMPDIR): \(systemReason(errno))")
        }
        do {
            try copy(source, to: target, in: place)
            return target
        } catch {
            close(target)
            throw error
        }
    }

    private func copy(_ source: Int32, to target: Int32, in place: String) throws {
        guard let memory = malloc(Self.pieceLength) else { throw LyraError(.memory, "\(name): no memory to read it") }
        defer { free(memory) }
        var total = 0
        while true {
            let count = try read(source, into: memory)
            if count == 0 { return }
            total += count
            guard total <= limit else {
                throw LyraError(
                    .memory, "\(name): gives more than \(limit) bytes, which is MediaLimits.spoolBytes; give a file")
            }
            var written = 0
            while written < count {
                let done = withoutSizeSignal { write(target, memory + written, count - written) }
                if done < 0, errno == EINTR { continue }
                guard done > 0 else {
                    throw LyraError(
                        .io, "\(name): cannot write it to a temporary file in \(place) (TMPDIR): \(systemReason(errno))"
                    )
                }
                written += done
            }
        }
    }

    /// Waits for bytes. → how many there were; 0 at the end
    private func read(_ source: Int32, into memory: UnsafeMutableRawPointer) throws -> Int {
        while true {
            if interrupted() { throw LyraError(.state, "\(name): interrupted") }
            var waiting = pollfd(fd: source, events: Int16(POLLIN), revents: 0)
            let ready = poll(&waiting, 1, Self.patience)
            if ready == 0 || ready < 0 && errno == EINTR { continue }
            let count = Glibc.read(source, memory, Self.pieceLength)
            if count >= 0 { return count }
            guard errno == EINTR || errno == EAGAIN else {
                throw LyraError(.io, "\(name): cannot be read: \(systemReason(errno))")
            }
        }
    }

    /// A file that goes with its descriptor.
    private static func temporary(in place: String) -> Int32 {
        // O_TMPFILE, which Swift cannot import.
        let unnamed = open(place, 0o20_000_000 | O_DIRECTORY | O_RDWR | O_CLOEXEC, 0o600)
        if unnamed >= 0 { return unnamed }
        // Some file systems have no unnamed files.
        var template = Array("\(place)/lyra-XXXXXX".utf8CString)
        return template.withUnsafeMutableBufferPointer { template in
            guard let path = template.baseAddress else { return -1 }
            let descriptor = mkstemp(path)
            guard descriptor >= 0 else { return -1 }
            unlink(path)
            _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC)
            return descriptor
        }
    }
}
