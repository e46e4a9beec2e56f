import Glibc
import LyraTensor

/// Which file a name leads to, whatever the name: two names of one file have the same.
public struct FileIdentity: Hashable, Sendable {
    private let device: dev_t
    private let number: ino_t

    init(_ info: stat) { (device, number) = (info.st_dev, info.st_ino) }

    /// Of what is at `path`, at the end of its links; nil if nothing is.
    public init?(path: String) {
        var info = stat()
        guard !path.utf8.contains(0), withSystemPath(path, { stat($0, &info) }) == 0 else { return nil }
        self.init(info)
    }
}
