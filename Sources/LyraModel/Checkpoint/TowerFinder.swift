import Glibc
import LyraFormats
import LyraBase

/// Looks for the directories that a checkpoint names but does not hold: towers and the vocoder.
///
/// Places follow from where the checkpoint is and from what the caller says, never from the current directory.
struct TowerFinder {
    /// The checkpoint's directory, or the one that its file lies in, and its parents, the nearest first. Where links lead to
    /// the checkpoint, the parents of both ends.
    private let bases: [String]
    private let extra: String?
    /// Whether the first of `bases` is the checkpoint's own, and not one that other things lie in, too.
    private let isOwn: Bool

    /// Parents of a checkpoint that are looked through.
    private static let parents = 3

    /// - Parameters:
    ///   - checkpoint: its directory or its file
    ///   - extra: where to look after the places that the checkpoint implies
    /// - Throws: `LyraError.io` if the system does not say what the checkpoint is.
    init(checkpoint: String, extra: String?) throws {
        isOwn = try !FileSystem.isFile(checkpoint)
        let resolved = try FileSystem.resolved(checkpoint)
        let named = isOwn ? checkpoint : FileSystem.parent(of: checkpoint)
        let target = isOwn ? resolved : FileSystem.parent(of: resolved)
        // By their bytes: Unicode holds some different names for the same text.
        var bases: [String] = [], seen: Set<[UInt8]> = []
        func add(_ base: String) throws {
            if seen.insert(Array(try FileSystem.resolved(base).utf8)).inserted { bases.append(base) }
        }
        var ends = [named, target]
        for distance in 0...Self.parents {
            for end in ends { try add(end) }
            if distance < Self.parents { ends = ends.map { FileSystem.outer($0) } }
        }
        self.bases = bases
        self.extra = extra
    }

    /// Where `name` could be, most direct first: an absolute path as it is, another in the checkpoint and beside it and its
    /// parents; then in the extra directory, there also without `name`'s leading parts.
    func candidates(_ name: String) -> [String] {
        // No path is longer, and of a long one with many slashes the places would take memory.
        guard name.utf8.count < Int(PATH_MAX) else { return [] }
        // What a configuration says is text, and a name that it spells has no bytes that are none.
        let name = SystemPath.string(name.utf8)
        let parts = name.split(separator: "/")
        let shortened = parts.indices.map { parts[$0...].joined(separator: "/") }
        return (FileSystem.isAbsolute(name) ? [name] : bases.map { FileSystem.join($0, name) })
            + (extra.map { extra in shortened.map { FileSystem.join(extra, $0) } } ?? [])
    }

    /// The first candidate that is a directory.
    ///
    /// - Throws: `LyraError.io` if the system does not say of one before it.
    func directory(_ name: String) throws -> String? {
        try candidates(name).first { try FileSystem.isDirectory($0) }
    }

    /// The first candidate that is a file.
    ///
    /// - Throws: `LyraError.io` if the system does not say of one before it.
    func file(_ name: String) throws -> String? { try candidates(name).first { try FileSystem.isFile($0) } }

    /// The vocoder's file: `given` (a file, or a directory that holds one), or else the newest `g_…` file beside a
    /// config.json in the checkpoint's directory, a model_zoo in or beside it or beside its parents, or the extra directory.
    ///
    /// - Parameter check: asked before a directory is read; throws to give up
    /// - Throws: what `check` throws; `LyraError.io` if the system does not let a directory be looked through.
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

    /// The file of the highest step, as HiFi-GAN's `scan_checkpoint` takes it; names without a step come before all with one,
    /// in their order.
    static func newest(_ files: [String]) -> String? {
        files.max { (rank($0), $0) < (rank($1), $1) }
    }

    /// The step in a name: its digits and, to compare them, how many they are; nothing for a name without a step.
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
