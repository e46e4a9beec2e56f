import Glibc
import LyraTensor

/// The few questions about paths that loading a checkpoint asks.
public enum FileSystem {
    /// Whether `path` is a regular file, or a link to one.
    public static func isFile(_ path: String) -> Bool {
        mode(of: path).map { $0 & S_IFMT == S_IFREG } ?? false
    }

    /// Whether `path` is a directory, or a link to one.
    public static func isDirectory(_ path: String) -> Bool {
        mode(of: path).map { $0 & S_IFMT == S_IFDIR } ?? false
    }

    /// Whether something is at `path` that is neither a regular file nor a directory: a device, a pipe.
    public static func isSpecial(_ path: String) -> Bool {
        mode(of: path).map { $0 & S_IFMT != S_IFREG && $0 & S_IFMT != S_IFDIR } ?? false
    }

    /// A slash as a byte: as a character it would be lost in front of a combining mark.
    static let slash = UInt8(ascii: "/")

    /// Whether a path begins at the root.
    public static func isAbsolute(_ path: String) -> Bool { path.utf8.first == slash }

    /// `directory` and `name` with exactly one slash between them.
    public static func join(_ directory: String, _ name: String) -> String {
        directory.isEmpty ? name : directory.utf8.last == slash ? directory + name : directory + "/" + name
    }

    /// Where links lead that `path` is one of; a path that is none, or that leads in a circle, as it is.
    static func followingLinks(_ path: String) -> String {
        var current = path
        for _ in 0..<40 {
            guard let next = link(at: current) else { return current }
            current = isAbsolute(next) ? next : join(parent(of: current), next)
        }
        return path
    }

    /// What a symbolic link says; nil if there is none at `path`.
    private static func link(at path: String) -> String? {
        let bytes = [UInt8](unsafeUninitializedCapacity: Int(PATH_MAX)) { buffer, filled in
            filled = buffer.withMemoryRebound(to: CChar.self) { text in
                withSystemPath(path) { name in text.baseAddress.map { max(readlink(name, $0, text.count), 0) } ?? 0 }
            }
        }
        return bytes.isEmpty ? nil : SystemPath.string(bytes)
    }

    /// Who may read, write and run the file at `path`; nil if there is none.
    static func permissions(of path: String) -> mode_t? {
        mode(of: path).flatMap { $0 & S_IFMT == S_IFREG ? $0 & 0o777 : nil }
    }

    private static func mode(of path: String) -> mode_t? {
        var info = stat()
        guard !path.utf8.contains(0), withSystemPath(path, { stat($0, &info) }) == 0 else { return nil }
        return info.st_mode
    }

    /// - Throws: `.argument` for an empty path or one with a zero byte.
    public static func checkPath(_ path: String) throws {
        guard !path.isEmpty, !path.utf8.contains(0) else {
            throw LyraError(.argument, "\(shown(path)) is not a path: it is empty or contains a zero byte")
        }
    }

    /// Opens a regular file for reading.
    ///
    /// Does not block on a pipe, and does not leak the descriptor into child processes.
    /// - Returns: A descriptor that the caller closes, the size in bytes, and which file it is.
    /// - Throws: `.argument` for a path with a zero byte; `.missing` when there is no such file; `.io` when it is not a
    ///   regular file or the system refuses.
    static func openForReading(_ path: String) throws -> (descriptor: Int32, size: Int, identity: FileIdentity) {
        try checkPath(path)
        let descriptor = withSystemPath(path) { open($0, O_RDONLY | O_CLOEXEC | O_NONBLOCK) }
        guard descriptor >= 0 else {
            throw LyraError(errno == ENOENT ? .missing : .io, "\(path): cannot open: \(systemMessage())")
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

/// What the last failed system call says, in words.
func systemMessage(_ code: Int32 = errno) -> String {
    String(cString: strerror(code))
}
