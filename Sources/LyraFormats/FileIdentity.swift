import Glibc

/// The device and inode number of a file: equal for two names of the same file.
public struct FileIdentity: Hashable, Sendable {
    private let device: dev_t
    private let number: ino_t

    init(_ info: stat) { (device, number) = (info.st_dev, info.st_ino) }

    /// The identity of the file at `path`, with links followed; nil if there is no file.
    ///
    /// - Throws: `LyraError.io`, with the path and the reason, when the system call fails.
    public init?(path: String) throws {
        guard let info = try FileSystem.status(of: path) else { return nil }
        self.init(info)
    }
}
