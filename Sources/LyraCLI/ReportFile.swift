import Lyra
import LyraFormats

/// A whole text that a command writes last into a file that is made first: one that cannot be written is found out before
/// the work.
struct ReportFile {
    private let file: OutputFile

    /// - Throws: `LyraError.io` if the file cannot be made.
    init(path: String) throws {
        guard try !FileSystem.isDirectory(path) else { throw LyraError(.io, "\(path): a directory; name a file") }
        file = try OutputFile(path: path)
    }

    func write(_ text: String) throws {
        try Array(text.utf8).withUnsafeBytes { try file.write($0, at: 0) }
        try file.commit()
    }
}

/// Does all of these, also after one that failed.
///
/// - Throws: what the first failure threw.
func doAll(_ work: (() throws -> Void)...) throws {
    var failure: (any Error)?
    for one in work {
        do { try one() } catch { failure = failure ?? error }
    }
    if let failure { throw failure }
}
