import Glibc
import LyraBase

/// Paths, and queries of the file system.
///
/// Only ENOENT and ENOTDIR mean that a file is absent. Every other failure is thrown: if lyra ignored a file that it
/// may not access, the model would give other answers.
public enum FileSystem {
    /// Whether `path` is a regular file, or a link to one.
    ///
    /// - Throws: `.io`, with the path and the reason, when the system call fails.
    public static func isFile(_ path: String) throws -> Bool { try kind(of: path) == S_IFREG }

    /// Whether an entry of a directory is hidden, or is `lost+found`, which only root can read.
    public static func isReserved(_ name: String) -> Bool { name.hasPrefix(".") || name == "lost+found" }

    /// Whether `path` is a directory, or a link to one.
    ///
    /// - Throws: `.io`, with the path and the reason, when the system call fails.
    public static func isDirectory(_ path: String) throws -> Bool { try kind(of: path) == S_IFDIR }

    /// Whether `path` is neither a regular file nor a directory: a device, a pipe. False if there is no file.
    ///
    /// - Throws: `.io`, with the path and the reason, when the system call fails.
    public static func isSpecial(_ path: String) throws -> Bool {
        try kind(of: path).map { $0 != S_IFREG && $0 != S_IFDIR } ?? false
    }

    /// A slash as a byte: as a Character it would fuse with a combining mark after it.
    static let slash = UInt8(ascii: "/")

    public static func isAbsolute(_ path: String) -> Bool { path.utf8.first == slash }

    /// `directory` and `name` with exactly one slash between them.
    public static func join(_ directory: String, _ name: String) -> String {
        directory.isEmpty ? name : directory.utf8.last == slash ? directory + name : directory + "/" + name
    }

    /// The target of a symbolic link, followed to the end; a path that is not a link is returned unchanged.
    ///
    /// - Throws: `.io` when a link cannot be read, or links lead in a circle.
    static func followingLinks(_ path: String) throws -> String {
        var current = path
        for _ in 0..<40 {
            guard let next = try link(at: current) else { return current }
            current = isAbsolute(next) ? next : join(parent(of: current), next)
        }
        throw LyraError(.io, "\(path): \(systemMessage(ELOOP))")
    }

    /// The target of the symbolic link at `path`, as it is stored; nil if there is no link.
    private static func link(at path: String) throws -> String? {
        var failure: Int32 = 0
        let bytes = [UInt8](unsafeUninitializedCapacity: Int(PATH_MAX)) { buffer, filled in
            buffer.withMemoryRebound(to: CChar.self) { text in
                guard let base = text.baseAddress else { return }
                let count = withSystemPath(path) { name in
                    let count = readlink(name, base, text.count)
                    failure = count < 0 ? errno : 0
                    return count
                }
                filled = max(count, 0)
            }
        }
        // EINVAL: the file is not a link.
        guard failure != 0, failure != EINVAL, !meansAbsent(failure) else {
            return bytes.isEmpty ? nil : SystemPath.string(bytes)
        }
        throw LyraError(.io, "\(path): cannot be accessed: \(systemMessage(failure))")
    }

    /// The permission bits of the regular file at `path`; nil if there is none.
    static func permissions(of path: String) throws -> mode_t? {
        try status(of: path).flatMap { $0.st_mode & S_IFMT == S_IFREG ? $0.st_mode & 0o777 : nil }
    }

    private static func kind(of path: String) throws -> mode_t? { try status(of: path).map { $0.st_mode & S_IFMT } }

    /// `stat` of the file at `path`; nil if there is no file.
    ///
    /// - Throws: `.io`, with the path and the reason, when the system call fails.
    static func status(of path: String) throws -> stat? {
        guard !path.utf8.contains(0) else { return nil }
        var info = stat()
        let code = withSystemPath(path) { stat($0, &info) == 0 ? 0 : errno }
        guard code != 0 else { return info }
        guard meansAbsent(code) else {
            throw LyraError(.io, "\(shownPath(path)): cannot be accessed: \(systemMessage(code))")
        }
        return nil
    }

    /// Whether an errno means that the file does not exist.
    static func meansAbsent(_ code: Int32) -> Bool { code == ENOENT || code == ENOTDIR }

    /// A path for a message, shortened if it is longer than any real path: a damaged file can name very long ones.
    static func shownPath(_ path: String) -> String { path.utf8.count < PATH_MAX ? path : shown(path, limit: 256) }

    /// - Throws: `.argument` for an empty path or one with a zero byte.
    public static func checkPath(_ path: String) throws {
        guard !path.isEmpty, !path.utf8.contains(0) else {
            throw LyraError(.argument, "\(shown(path)) is not a path: it is empty or contains a zero byte")
        }
    }

    /// Opens a regular file for reading.
    ///
    /// The call does not block on a pipe, and child processes do not inherit the descriptor.
    ///
    /// - Returns: A descriptor that the caller closes, the size in bytes, and which file it is.
    /// - Throws: `.argument` for a path with a zero byte; `.missing` when there is no such file; `.io` when it is not a
    ///   regular file or the system refuses.
    static func openForReading(_ path: String) throws -> (descriptor: Int32, size: Int, identity: FileIdentity) {
        try checkPath(path)
        let descriptor = withSystemPath(path) { open($0, O_RDONLY | O_CLOEXEC | O_NONBLOCK) }
        guard descriptor >= 0 else {
            let code = errno
            throw LyraError(
                meansAbsent(code) ? .missing : .io, "\(shownPath(path)): cannot open: \(systemMessage(code))")
        }
        var info = stat()
        guard fstat(descriptor, &info) == 0 else {
            let reason = systemMessage()
            close(descriptor)
            throw LyraError(.io, "\(path): cannot read its size: \(reason)")
        }
        guard info.st_mode & S_IFMT == S_IFREG, let size = Int(exactly: info.st_size), size >= 0 else {
            close(descriptor)
            throw LyraError(.io, "\(path): not a regular file")
        }
        return (descriptor, size, FileIdentity(info))
    }
}
