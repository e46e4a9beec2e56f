import Glibc
import LyraBase
import LyraFormats

/// Directories that a writer makes, so that they can be removed if the writing fails.
package struct NewDirectories {
    private var made: [String] = []

    package init() {}

    /// Makes a directory and those that lead to it, as far as they are not there yet.
    ///
    /// - Throws: `LyraError.io`, naming the directory that cannot be made.
    package mutating func make(_ path: String) throws {
        var partial = FileSystem.isAbsolute(path) ? "/" : ""
        for component in path.utf8.split(separator: UInt8(ascii: "/")) {
            partial = FileSystem.join(partial, String(Substring(component)))
            if withSystemPath(partial, { mkdir($0, 0o777) }) == 0 {
                made.append(partial)
                continue
            }
            let code = errno
            guard try FileSystem.isDirectory(partial) else {
                throw LyraError(.io, "\(partial): cannot make the directory: \(systemMessage(code))")
            }
        }
    }

    /// Removes those that were made and are empty.
    package func remove() {
        for directory in made.reversed() { withSystemPath(directory) { _ = rmdir($0) } }
    }
}
