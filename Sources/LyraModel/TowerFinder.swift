import Glibc
import LyraFormats
import LyraTensor

/// Looks for the directories that a checkpoint names but does not hold: towers and the vocoder.
struct TowerFinder {
    /// The checkpoint's directory, or the one that its file lies in, and up to three parents.
    private let bases: [String]
    private let extra: String?
    /// Whether the first of `bases` is the checkpoint's own, and not one that other things lie in, too.
    private let isOwn: Bool

    /// - Parameters:
    ///   - checkpoint: its directory or its file
    ///   - extra: where to look after the places that the checkpoint implies
    init(checkpoint: String, extra: String?) {
        isOwn = !FileSystem.isFile(checkpoint)
        let checkpoint = isOwn ? checkpoint : FileSystem.parent(of: checkpoint)
        var bases = [checkpoint], base = checkpoint
        for _ in 0..<3 {
            base = FileSystem.join(base, "..")
            bases.append(base)
        }
        self.bases = bases
        self.extra = extra
    }

    /// Where `name` could be, most direct first: as given, beside the checkpoint and its parents, and in the extra
    /// directory, there also without `name`'s leading parts.
    func candidates(_ name: String) -> [String] {
        // No path is longer, and of a long one with many slashes the places would take memory.
        guard name.utf8.count < Int(PATH_MAX) else { return [] }
        // What a configuration says is text, and a name that it spells has no bytes that are none.
        let name = SystemPath.string(name.utf8)
        let parts = name.split(separator: "/")
        let shortened = parts.indices.map { parts[$0...].joined(separator: "/") }
        return [name] + bases.map { FileSystem.join($0, name) }
            + (extra.map { extra in shortened.map { FileSystem.join(extra, $0) } } ?? [])
    }

    /// The first candidate that is a directory.
    func directory(_ name: String) -> String? { candidates(name).first { FileSystem.isDirectory($0) } }

    /// The first candidate that is a file.
    func file(_ name: String) -> String? { candidates(name).first { FileSystem.isFile($0) } }

    /// The vocoder's file: `given` (a file, or a directory that holds one), or else the first `g_…` file beside a
    /// config.json in the checkpoint's directory, a model_zoo in or beside it or beside its parents, or the extra directory.
    ///
    /// - Parameter check: asked before a directory is read; throws to give up
    func vocoder(_ given: String?, check: () throws -> Void) rethrows -> String? {
        if let given {
            return FileSystem.isFile(given) ? given : try search(given, depth: 0, check)
        }
        let roots =
            (isOwn ? [bases[0]] : []) + bases.map { FileSystem.join($0, "model_zoo") } + (extra.map { [$0] } ?? [])
        for root in roots where FileSystem.isDirectory(root) {
            if let found = try search(root, depth: 4, check) { return found }
        }
        return nil
    }

    private func search(_ directory: String, depth: Int, _ check: () throws -> Void) rethrows -> String? {
        try check()
        let entries = FileSystem.entries(of: directory)
        if FileSystem.isFile(FileSystem.join(directory, "config.json")),
            let file = entries.first(where: { $0.hasPrefix("g_") && FileSystem.isFile(FileSystem.join(directory, $0)) })
        {
            return FileSystem.join(directory, file)
        }
        guard depth > 0 else { return nil }
        for entry in entries where !entry.hasPrefix(".") {
            let path = FileSystem.join(directory, entry)
            if FileSystem.isDirectory(path), let found = try search(path, depth: depth - 1, check) { return found }
        }
        return nil
    }
}
