import Glibc
import LyraBase
import LyraFormats

/// What a run adds to its directory before its first update, so that a run that trains nothing can remove it.
struct RunTraces {
    private let directory: RunDirectory
    private let hadLog: Bool
    private let hadAdapter: Bool
    /// Each after the one that it is in.
    private let madeDirectories: [String]

    /// Makes the run's directory.
    ///
    /// - Throws: `LyraError.io` with the path and the reason.
    init(creating directory: RunDirectory) throws {
        self.directory = directory
        try FileSystem.checkPath(directory.path)
        hadLog = try FileSystem.isFile(directory.log)
        hadAdapter = try FileSystem.isDirectory(directory.freshAdapter)
        madeDirectories = try directory.create()
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
