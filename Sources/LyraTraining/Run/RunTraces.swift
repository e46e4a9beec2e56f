import Glibc
import LyraBase
import LyraFormats

/// What a run adds to its directory before its first update, so that a run that trains nothing can remove it.
struct RunTraces {
    private let directory: RunDirectory
    private let lock: DirectoryLock
    private let hadLog: Bool
    private let hadAdapter: Bool
    /// Each after the one that it is in.
    private let madeDirectories: [String]

    /// Makes the run's directory, and keeps other runs out of it while this value lives.
    ///
    /// - Throws: `LyraError.io` with the path and the reason; `.state` if another run uses the directory.
    init(creating directory: RunDirectory) throws {
        self.directory = directory
        madeDirectories = try directory.create()
        lock = try DirectoryLock(directory.path)
        hadLog = try FileSystem.isFile(directory.log)
        hadAdapter = try FileSystem.isDirectory(directory.freshAdapter)
    }

    /// Removes what was added, as far as that is possible.
    ///
    /// - Parameter includesStates: whether the saved states are this run's, and all of untrained parameters
    func remove(includesStates: Bool) {
        // The error that ended the run is the one to report.
        if includesStates { try? directory.clear() }
        if !hadAdapter { Self.removeFolder(directory.freshAdapter) }
        if !hadLog { try? RunDirectory.remove(directory.log) }
        for path in madeDirectories.reversed() { withSystemPath(path) { _ = rmdir($0) } }
    }

    private static func removeFolder(_ path: String) {
        guard let names = try? FileSystem.entries(of: path) else { return }
        for name in names { try? RunDirectory.remove(FileSystem.join(path, name)) }
        withSystemPath(path) { _ = rmdir($0) }
    }
}

/// Keeps other runs, of this process too, out of a directory.
private final class DirectoryLock {
    private let descriptor: Int32

    /// - Throws: `LyraError.io` if the directory cannot be opened; `.state` if another run uses it.
    init(_ path: String) throws {
        descriptor = withSystemPath(path) { open($0, O_RDONLY | O_DIRECTORY | O_CLOEXEC) }
        guard descriptor >= 0 else { throw LyraError(.io, "\(path): cannot open: \(systemMessage())") }
        // Some network file systems have no locks.
        guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 || errno != EAGAIN else {
            close(descriptor)
            throw LyraError(.state, "\(path): another run writes to it; wait for its end, or use another directory")
        }
    }

    deinit { close(descriptor) }
}
