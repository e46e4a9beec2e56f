import Glibc
import LyraBase
import Synchronization

/// The temporary files and directories of this process, so that a program can remove them before it exits on a signal.
public enum UnfinishedFiles {
    fileprivate struct Names {
        var files: Set<String> = []
        /// In the order in which they were made: outer directories first.
        var directories: [String] = []
    }

    private static let names = Mutex(Names())

    /// Removes all temporary files, then calls `end`, which should exit. No file can be completed meanwhile.
    public static func discardAll(then end: () -> Void) {
        names.withLock { names in
            for name in names.files { withSystemPath(name) { _ = unlink($0) } }
            for name in names.directories.reversed() { withSystemPath(name) { _ = rmdir($0) } }
            end()
        }
    }

    package static func add(_ name: String) { names.withLock { _ = $0.files.insert(name) } }

    static func remove(_ name: String) { names.withLock { _ = $0.files.remove(name) } }

    static func discard(_ name: String) {
        withSystemPath(name) { _ = unlink($0) }
        remove(name)
    }

    /// Renames a temporary file to its final name. → 0, or an errno: the file then stays unfinished
    static func finish(_ name: String, as target: String) -> Int32 {
        names.withLock { names in
            let code = withSystemPath(name) { from in withSystemPath(target) { rename(from, $0) == 0 ? 0 : errno } }
            guard code == 0 else { return code }
            names.files.remove(name)
            return 0
        }
    }

    // MARK: Directories

    /// Makes a directory. → 0, or the errno
    package static func make(directory: String) -> Int32 {
        names.withLock { names in
            let code = withSystemPath(directory) { mkdir($0, 0o777) == 0 ? 0 : errno }
            if code == 0 { names.directories.append(directory) }
            return code
        }
    }

    /// Renames a directory with everything in it; an empty directory at `target` is replaced. → 0, or the errno, and
    /// then all is unfinished still
    package static func finish(directory: String, as target: String) -> Int32 {
        names.withLock { names in
            let code = withSystemPath(directory) { from in
                withSystemPath(target) { rename(from, $0) == 0 ? 0 : errno }
            }
            if code == 0 { names.forget(directory) }
            return code
        }
    }

    /// Removes a directory with everything in it that was added here.
    package static func discard(directory: String) {
        names.withLock { names in
            for name in names.files where isInside(name, directory) { withSystemPath(name) { _ = unlink($0) } }
            for name in names.directories.reversed() where name == directory || isInside(name, directory) {
                withSystemPath(name) { _ = rmdir($0) }
            }
            names.forget(directory)
        }
    }

    private static func isInside(_ name: String, _ directory: String) -> Bool {
        name.utf8.starts(with: (directory + "/").utf8)
    }
}

extension UnfinishedFiles.Names {
    fileprivate mutating func forget(_ directory: String) {
        let prefix = Array((directory + "/").utf8)
        files = files.filter { !$0.utf8.starts(with: prefix) }
        directories.removeAll { $0.utf8.elementsEqual(directory.utf8) || $0.utf8.starts(with: prefix) }
    }
}
