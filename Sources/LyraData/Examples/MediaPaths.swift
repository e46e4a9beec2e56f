import LyraBase
import LyraFormats

/// Paths of recordings as a data file states them: relative to a folder, the data file's own unless another is given,
/// for recordings inside it; absolute for all others.
package final class MediaPaths {
    private let root: String
    /// Absolute paths of the folders of recordings.
    private var folders: [String: String] = [:]

    /// - Parameter root: an existing folder
    /// - Throws: `LyraError.missing` if there is no such folder, `.io` if it cannot be accessed.
    package init(root: String) throws {
        guard try FileSystem.isDirectory(root) else { throw LyraError(.missing, "\(root): no such directory") }
        let absolute = try FileSystem.resolved(root)
        self.root = absolute.utf8.last == UInt8(ascii: "/") ? absolute : absolute + "/"
    }

    /// The path for the data file. Links above the recording are followed, a link to the recording itself is not.
    ///
    /// - Throws: `LyraError.format` for a name that is not UTF-8, which JSON cannot hold.
    package func stated(_ path: String) throws -> String {
        let folder = FileSystem.parent(of: path)
        let absolute = try folders[folder] ?? FileSystem.resolved(folder)
        folders[folder] = absolute
        let name = FileSystem.join(absolute, FileSystem.name(of: path))
        guard SystemPath.printable(name).utf8.elementsEqual(name.utf8) else {
            throw LyraError(.format, "\(path): its name is not UTF-8, which JSON cannot hold; rename it")
        }
        return name.utf8.starts(with: root.utf8) ? String(Substring(name.utf8.dropFirst(root.utf8.count))) : name
    }

    /// The file that a data file's path names.
    ///
    /// - Parameter root: the folder that relative paths start from
    package static func file(_ stated: String, root: String) -> String {
        let path = SystemPath.string(stated.utf8)
        return FileSystem.isAbsolute(path) ? path : FileSystem.join(root, path)
    }
}
