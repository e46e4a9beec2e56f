import Glibc
import LyraBase
import Synchronization

/// The temporary files of this process's `OutputFile`s, so that a program can remove them before it exits on a signal.
public enum UnfinishedFiles {
    private static let names = Mutex<Set<String>>([])

    /// Removes all temporary files, then calls `end`, which should exit. No file can be completed meanwhile.
    public static func discardAll(then end: () -> Void) {
        names.withLock { names in
            for name in names { withSystemPath(name) { _ = unlink($0) } }
            end()
        }
    }

    static func add(_ name: String) { names.withLock { _ = $0.insert(name) } }

    static func remove(_ name: String) { names.withLock { _ = $0.remove(name) } }

    static func discard(_ name: String) {
        withSystemPath(name) { _ = unlink($0) }
        remove(name)
    }

    /// Renames a temporary file to its final name. → 0, or an errno: the file then stays unfinished
    static func finish(_ name: String, as target: String) -> Int32 {
        names.withLock { names in
            let code = withSystemPath(name) { from in withSystemPath(target) { rename(from, $0) == 0 ? 0 : errno } }
            guard code == 0 else { return code }
            names.remove(name)
            return 0
        }
    }
}
