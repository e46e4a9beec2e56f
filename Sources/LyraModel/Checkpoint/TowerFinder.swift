import Glibc
import LyraFormats
import LyraBase

/// Finds a checkpoint's towers and vocoder, which can lie outside its directory or file.
///
/// The search starts from the checkpoint's location and the caller's options, never from the current directory.
struct TowerFinder {
    /// The directory of the checkpoint and its parents, nearest first. If the path is a symbolic link, the parents of
    /// the link and of its target. Empty for a checkpoint that is not in the file system.
    private let bases: [String]
    private let extra: String?
    /// Whether the first of `bases` is the checkpoint itself, not a directory with other files.
    private let isOwn: Bool

    /// Number of parent directories that are searched.
    private static let parents = 3

    /// - Parameters:
    ///   - checkpoint: the checkpoint's directory or file; nil if it is not in the file system
    ///   - extra: directory to search after the places that the checkpoint implies
    /// - Throws: `LyraError.io` if the system cannot tell what the checkpoint is.
    init(checkpoint: String?, extra: String?) throws {
        self.extra = extra
        guard let checkpoint else {
            (bases, isOwn) = ([], false)
            return
        }
        isOwn = try !FileSystem.isFile(checkpoint)
        let resolved = try FileSystem.resolved(checkpoint)
        let named = isOwn ? checkpoint : FileSystem.parent(of: checkpoint)
        let target = isOwn ? resolved : FileSystem.parent(of: resolved)
        // Compared as bytes, because Unicode equality would match distinct names.
        var bases: [String] = [], seen: Set<[UInt8]> = []
        func add(_ base: String) throws {
            if seen.insert(Array(try FileSystem.resolved(base).utf8)).inserted { bases.append(base) }
        }
        var ends = [named, target]
        for distance in 0...Self.parents {
            for end in ends { try add(end) }
            if distance < Self.parents { ends = ends.map { FileSystem.enclosingDirectory(of: $0) } }
        }
        self.bases = bases
    }

    /// Possible paths of `name`, in the order of the search: an absolute `name` itself, or a relative `name` in each of
    /// `bases`; then `name` in the extra directory, also without its leading components.
    func candidates(_ name: String) -> [String] {
        // No valid path is longer. A long name with many slashes would produce a huge list of candidates.
        guard name.utf8.count < Int(PATH_MAX) else { return [] }
        // A name in a configuration is text, so it cannot contain bytes that are not UTF-8.
        let name = SystemPath.string(name.utf8)
        let components = name.split(separator: "/")
        let shortened = components.indices.map { components[$0...].joined(separator: "/") }
        return (FileSystem.isAbsolute(name) ? [name] : bases.map { FileSystem.join($0, name) })
            + (extra.map { extra in shortened.map { FileSystem.join(extra, $0) } } ?? [])
    }

    /// The first candidate that is a directory.
    ///
    /// - Throws: `LyraError.io` if the system cannot tell for an earlier candidate.
    func directory(_ name: String) throws -> String? {
        try candidates(name).first { try FileSystem.isDirectory($0) }
    }

    /// The first candidate that is a file.
    ///
    /// - Throws: `LyraError.io` if the system cannot tell for an earlier candidate.
    func file(_ name: String) throws -> String? { try candidates(name).first { try FileSystem.isFile($0) } }

    /// The vocoder's file: the newest `g_…` file beside a config.json.
    ///
    /// With `given`, only that file or directory counts. Otherwise the search covers, in this order, the checkpoint's
    /// directory, the model_zoo in each of `bases`, and the extra directory, four levels deep.
    ///
    /// - Parameter check: called before each directory is read; throws to abort
    /// - Throws: any error of `check`; `LyraError.io` if a directory cannot be searched.
    func vocoder(_ given: String?, check: () throws -> Void) throws -> String? {
        if let given {
            return try FileSystem.isFile(given) ? given : try search(given, depth: 0, check)
        }
        let roots =
            (isOwn ? [bases[0]] : []) + bases.map { FileSystem.join($0, "model_zoo") }
            + (extra.map { [FileSystem.join($0, "model_zoo"), $0] } ?? [])
        for root in roots where try FileSystem.isDirectory(root) {
            if let found = try search(root, depth: 4, check) { return found }
        }
        return nil
    }

    private func search(_ directory: String, depth: Int, _ check: () throws -> Void) throws -> String? {
        try check()
        let entries = try FileSystem.entries(of: directory)
        if try FileSystem.isFile(FileSystem.join(directory, "config.json")) {
            let files = try entries.filter {
                try $0.hasPrefix("g_") && FileSystem.isFile(FileSystem.join(directory, $0))
            }
            if let file = Self.newest(files) { return FileSystem.join(directory, file) }
        }
        guard depth > 0 else { return nil }
        for entry in entries where !FileSystem.isReserved(entry) {
            let path = FileSystem.join(directory, entry)
            if try FileSystem.isDirectory(path), let found = try search(path, depth: depth - 1, check) { return found }
        }
        return nil
    }

    /// The file with the highest step, as chosen by HiFi-GAN's `scan_checkpoint`. Names without a step sort before all
    /// others, by name.
    static func newest(_ files: [String]) -> String? {
        files.max { (rank($0), $0) < (rank($1), $1) }
    }

    /// The step in a file name: its digits and their number, for comparison; empty for a name without a step.
    private static func rank(_ name: String) -> Step {
        let digits = name.utf8.dropFirst("g_".utf8.count)
        guard !digits.isEmpty, digits.allSatisfy({ (0x30...0x39).contains($0) }) else { return Step() }
        return Step(digits: Array(digits.drop { $0 == 0x30 }), isStep: true)
    }

    private struct Step: Comparable {
        var digits: [UInt8] = []
        var isStep = false

        static func < (a: Step, b: Step) -> Bool {
            guard a.isStep == b.isStep else { return b.isStep }
            guard a.digits.count == b.digits.count else { return a.digits.count < b.digits.count }
            return a.digits.lexicographicallyPrecedes(b.digits)
        }
    }
}
