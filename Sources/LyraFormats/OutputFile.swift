import Glibc
import LyraTensor

/// A file that appears under its name only when it is complete: written beside it under another name, then renamed.
public final class OutputFile {
    public let path: String
    private let temporary: String?
    private var descriptor: Int32

    /// Creates the temporary file, in the directory of `path`. What is there and is no regular file, a device, is written
    /// itself.
    ///
    /// - Throws: `.io` when it cannot be created; `.argument` for an empty path or one with a zero byte.
    public convenience init(path: String) throws {
        guard !path.isEmpty, !path.utf8.contains(0) else {
            throw LyraError(.argument, "\(shown(path)) is not a path: it is empty or contains a zero byte")
        }
        if FileSystem.isSpecial(path) {
            let descriptor = open(path, O_WRONLY | O_CLOEXEC | O_NONBLOCK)
            guard descriptor >= 0 else { throw LyraError(.io, "\(path): cannot write to it: \(systemMessage())") }
            self.init(path: path, temporary: nil, descriptor: descriptor)
            return
        }
        let temporary = "\(path).\(getpid())-\(UInt32.random(in: 0 ... .max)).partial"
        let descriptor = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o666)
        guard descriptor >= 0 else {
            throw LyraError(.io, "\(path): cannot create a file there: \(systemMessage())")
        }
        self.init(path: path, temporary: temporary, descriptor: descriptor)
    }

    /// Takes over an open descriptor; without `temporary` there is nothing to rename.
    init(path: String, temporary: String?, descriptor: Int32) {
        self.path = path
        self.temporary = temporary
        self.descriptor = descriptor
    }

    deinit { discard() }

    /// Writes all of `bytes` at `offset`; what is skipped reads as zeros.
    ///
    /// - Throws: `.io`, for example on a full disk; the temporary file is then gone. `.state` after `commit` or `discard`.
    public func write(_ bytes: UnsafeRawBufferPointer, at offset: Int) throws {
        guard descriptor >= 0 else { throw LyraError(.state, "\(path): already finished or failed") }
        var done = 0
        while done < bytes.count {
            let written = pwrite(
                descriptor, bytes.baseAddress.map { $0 + done }, bytes.count - done, off_t(offset + done))
            if written > 0 {
                done += written
            } else if written == 0 || errno != EINTR {
                let reason = written == 0 ? "nothing was written" : systemMessage()
                discard()
                throw LyraError(.io, "\(path): cannot write at byte \(offset + done): \(reason)")
            }
        }
    }

    /// Closes the file and gives it its name.
    ///
    /// - Throws: `.io` when either fails; the temporary file is then gone. `.state` after `commit` or `discard`.
    public func commit() throws {
        guard descriptor >= 0 else { throw LyraError(.state, "\(path): already finished or failed") }
        let closed = close(descriptor)
        descriptor = -1
        guard closed == 0, temporary.map({ rename($0, path) }) ?? 0 == 0 else {
            let reason = systemMessage()
            if let temporary { unlink(temporary) }
            throw LyraError(.io, "\(path): cannot complete the file: \(reason)")
        }
    }

    /// Removes what was written; does nothing after `commit`.
    public func discard() {
        guard descriptor >= 0 else { return }
        close(descriptor)
        descriptor = -1
        if let temporary { unlink(temporary) }
    }
}
