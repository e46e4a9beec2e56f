import Glibc

/// Which file a name leads to, whatever the name: two names of one file have the same.
public struct FileIdentity: Hashable, Sendable {
    private let device: dev_t
    private let number: ino_t

    init(_ info: stat) { (device, number) = (info.st_dev, info.st_ino) }

    /// Of what is at `path`, at the end of its links; nil if nothing is.
    ///
    /// - Throws: `LyraError.io`, with the path and the reason, when the system does not say.
    public init?(path: String) throws {
        guard let info = try FileSystem.status(of: path) else { return nil }
        self.init(info)
    }
}
