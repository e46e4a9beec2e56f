import Glibc
import LyraBase
import LyraFormats

/// What a run adds to its directory before its first update, so that a run that trains nothing can remove it.
struct RunTraces {
    private let directory: RunDirectory
    /// Its lock keeps other runs out of the directory while this value lives. It is opened first, so that no other run
    /// can have made what is added later.
    let log: TrainingLog
    private let hadAdapter: Bool
    /// Each after the one that it is in.
    private let madeDirectories: [String]

    /// Makes the run's directory, and opens its log.
    ///
    /// - Throws: `LyraError.io` with the path and the reason; `.state` if another run uses the directory.
    init(creating directory: RunDirectory) throws {
        self.directory = directory
        madeDirectories = try directory.create()
        log = try TrainingLog(path: directory.log)
        hadAdapter = try FileSystem.isDirectory(directory.freshAdapter)
    }

    /// Removes what was added, as far as that is possible.
    ///
    /// - Parameter includesStates: whether the saved states are this run's, and all of untrained parameters
    func remove(includesStates: Bool) {
        // Without a lock, another run may have begun.
        guard log.isLocked else { return }
        // The error that ended the run is the one to report.
        if includesStates { try? directory.clear() }
        if !hadAdapter { Self.removeFolder(directory.freshAdapter) }
        if log.isNew { try? RunDirectory.remove(log.path) }
        for path in madeDirectories.reversed() { withSystemPath(path) { _ = rmdir($0) } }
    }

    private static func removeFolder(_ path: String) {
        guard let names = try? FileSystem.entries(of: path) else { return }
        for name in names { try? RunDirectory.remove(FileSystem.join(path, name)) }
        withSystemPath(path) { _ = rmdir($0) }
    }
}
