import CFiles
import Glibc
import LyraBase

/// A file that appears under its name only when it is complete: a temporary file in the same directory, then renamed.
public final class OutputFile {
    public let path: String
    /// The path that is replaced: `path`, or the target if `path` is a link.
    private let target: String
    private let temporary: String?
    private var descriptor: Int32

    /// Creates the temporary file, in the directory of `path`. A device or pipe at `path` is written directly. If
    /// `path` is a link, its target is replaced and the link stays. The new file gets the permissions of the replaced
    /// one.
    ///
    /// - Throws: `.io` when the file cannot be created; `.argument` for an empty path or one with a zero byte.
    public convenience init(path: String) throws {
        guard !path.isEmpty, !path.utf8.contains(0) else {
            throw LyraError(.argument, "\(shown(path)) is not a path: it is empty or contains a zero byte")
        }
        if try FileSystem.isSpecial(path) {
            let descriptor = withSystemPath(path) { open($0, O_WRONLY | O_CLOEXEC | O_NONBLOCK) }
            guard descriptor >= 0 else { throw LyraError(.io, "\(path): cannot write to it: \(systemMessage())") }
            self.init(path: path, temporary: nil, descriptor: descriptor)
            return
        }
        let target = try FileSystem.followingLinks(path)
        let temporary = "\(target).\(getpid())-\(UInt32.random(in: 0 ... .max)).partial"
        let permissions = try FileSystem.permissions(of: target)
        UnfinishedFiles.add(temporary)
        let descriptor = withSystemPath(temporary) {
            open($0, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, permissions ?? 0o666)
        }
        guard descriptor >= 0 else {
            let reason = systemMessage()
            UnfinishedFiles.remove(temporary)
            throw LyraError(.io, "\(path): cannot create a file there: \(reason)")
        }
        // `open` applied the umask.
        if let permissions { fchmod(descriptor, permissions) }
        self.init(path: path, target: target, temporary: temporary, descriptor: descriptor)
    }

    /// Takes over an open descriptor. Without `temporary`, `commit` renames nothing.
    init(path: String, target: String? = nil, temporary: String?, descriptor: Int32) {
        self.path = path
        self.target = target ?? path
        self.temporary = temporary
        self.descriptor = descriptor
    }

    deinit { discard() }

    /// Reserves disk space for the whole file, so that a lack of space shows before anything is written.
    ///
    /// Does nothing on a device and on file systems that cannot reserve space; there a full disk makes `write` throw.
    ///
    /// - Throws: `.io` when space is lacking, with the bytes needed and free, after removing the temporary file;
    ///   `.state` after `commit` or `discard`.
    public func reserve(_ byteCount: Int) throws {
        guard descriptor >= 0 else { throw LyraError(.state, "\(path): already finished or failed") }
        guard temporary != nil, byteCount > 0 else { return }
        let free = freeBytes()
        // Compared first: some file systems allocate all free space before fallocate fails.
        var code = free.map { $0 < byteCount } ?? false ? ENOSPC : 0
        // Not posix_fallocate, which writes to every block of the file where the file system has no fallocate.
        if code == 0, withoutSizeSignal({ fallocate(descriptor, 0, 0, off_t(byteCount)) }) != 0 { code = errno }
        guard code == ENOSPC || code == EDQUOT || code == EFBIG else { return }
        discard()
        let space = free.map { "; \($0) are free" } ?? ""
        throw LyraError(
            .io, "\(path): no room for the file, which needs \(byteCount) bytes\(space): \(systemMessage(code))")
    }

    /// Bytes that the file system has free for this user; nil if unknown.
    private func freeBytes() -> Int? {
        var info = statvfs()
        guard fstatvfs(descriptor, &info) == 0, info.f_blocks > 0 else { return nil }
        return UInt64(info.f_bavail).checkedMultiplying(by: UInt64(info.f_frsize)).flatMap { Int(exactly: $0) }
    }

    /// Writes all of `bytes` at `offset`. Bytes that are never written read as zeros.
    ///
    /// - Throws: `.io`, for example on a full disk, after removing the temporary file; `.state` after `commit` or
    ///   `discard`.
    public func write(_ bytes: UnsafeRawBufferPointer, at offset: Int) throws {
        guard descriptor >= 0 else { throw LyraError(.state, "\(path): already finished or failed") }
        var done = 0
        while done < bytes.count {
            let written = withoutSizeSignal {
                pwrite(descriptor, bytes.baseAddress.map { $0 + done }, bytes.count - done, off_t(offset + done))
            }
            if written > 0 {
                done += written
            } else if written == 0 || errno != EINTR {
                let reason = written == 0 ? "nothing was written" : systemMessage()
                discard()
                throw LyraError(.io, "\(path): cannot write at byte \(offset + done): \(reason)")
            }
        }
    }

    /// Flushes what is written to disk, so that `commit` only has to give the file its name: for several files that
    /// appear together.
    ///
    /// - Throws: `.io`, for example on a full disk, after removing the temporary file; `.state` after `commit` or
    ///   `discard`.
    public func flush() throws {
        guard descriptor >= 0 else { throw LyraError(.state, "\(path): already finished or failed") }
        guard temporary != nil, fsync(descriptor) != 0 else { return }
        let reason = systemMessage()
        discard()
        throw LyraError(.io, "\(path): cannot complete the file: \(reason)")
    }

    /// Flushes the file to disk, closes it and gives it its name. After a power failure the name refers to the old file
    /// or to the complete new one.
    ///
    /// - Throws: `.io` when a step fails: the temporary file is then removed, unless it has its final name already;
    ///   `.state` after `commit` or `discard`.
    public func commit() throws {
        guard descriptor >= 0 else { throw LyraError(.state, "\(path): already finished or failed") }
        var code = temporary != nil && fsync(descriptor) != 0 ? errno : 0
        if close(descriptor) != 0, code == 0 { code = errno }
        descriptor = -1
        if let temporary {
            code = code == 0 ? UnfinishedFiles.finish(temporary, as: target) : code
            if code != 0 { UnfinishedFiles.discard(temporary) }
        }
        guard code == 0 else {
            throw LyraError(.io, "\(path): cannot complete the file: \(systemMessage(code))")
        }
        if temporary != nil { try syncDirectory() }
    }

    /// Flushes the directory with the new name to disk, on file systems that can.
    private func syncDirectory() throws {
        let directory = withSystemPath(FileSystem.parent(of: target)) {
            open($0, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        }
        guard directory >= 0 else { return }
        defer { close(directory) }
        guard fsync(directory) == 0 || errno != EIO else {
            throw LyraError(.io, "\(path): the file is complete, but may lose its name: \(systemMessage())")
        }
    }

    /// Removes the temporary file; does nothing after `commit`.
    public func discard() {
        guard descriptor >= 0 else { return }
        close(descriptor)
        descriptor = -1
        if let temporary { UnfinishedFiles.discard(temporary) }
    }
}
