import Glibc
import LyraBase
import Synchronization

/// The temporary files of this process's `OutputFile`s, so that a program that is told to end can leave none behind.
public enum UnfinishedFiles {
    private static let names = Mutex<Set<String>>([])

    /// Removes all of them, then calls `end`, which should end the process; until it returns no file is completed.
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

    /// Renames one. → 0, or the errno, and then it is unfinished still
    static func finish(_ name: String, as target: String) -> Int32 {
        names.withLock { names in
            let code = withSystemPath(name) { from in withSystemPath(target) { rename(from, $0) == 0 ? 0 : errno } }
            guard code == 0 else { return code }
            names.remove(name)
            return 0
        }
    }
}
