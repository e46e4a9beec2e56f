import Lyra
import LyraFormats

/// A report's file, created before the work and written at its end, so that an unwritable path is an error before the
/// work.
struct ReportFile {
    private let file: OutputFile

    /// - Throws: `LyraError.io` if the file cannot be created.
    init(path: String) throws {
        guard try !FileSystem.isDirectory(path) else { throw LyraError(.io, "\(path): a directory; name a file") }
        file = try OutputFile(path: path)
    }

    func write(_ text: String) throws {
        try Array(text.utf8).withUnsafeBytes { try file.write($0, at: 0) }
        try file.commit()
    }
}

/// Runs all closures, even after one has failed.
///
/// - Throws: the first error.
func doAll(_ work: (() throws -> Void)...) throws {
    var failure: (any Error)?
    for task in work {
        do { try task() } catch { failure = failure ?? error }
    }
    if let failure { throw failure }
}
