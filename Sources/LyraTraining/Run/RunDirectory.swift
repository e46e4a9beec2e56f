import Glibc
import LyraBase
import LyraFormats

/// Where a run keeps its log and its saved states.
package struct RunDirectory: Sendable {
    package let path: String
    /// Saved states that are kept.
    package let kept: Int

    private static let states = "states"
    private static let (prefix, suffix) = ("step-", ".safetensors")

    package var log: String { FileSystem.join(path, "log.jsonl") }
    /// The parameters with the least validation loss.
    package var best: String { FileSystem.join(path, "best.safetensors") }

    /// The heads of a tower that was trained.
    package var heads: String { FileSystem.join(path, "heads.safetensors") }

    /// An adapter that the run began with.
    package var freshAdapter: String { FileSystem.join(FileSystem.join(path, Self.states), "fresh_adapter") }

    /// - Parameter path: of the directory; `create` makes it
    package init(_ path: String, kept: Int) { (self.path, self.kept) = (path, max(1, kept)) }

    /// Makes the directories that are missing.
    ///
    /// - Returns: those that were made, each after the one that it is in
    /// - Throws: `LyraError.io` with the path and the reason.
    @discardableResult
    package func create() throws -> [String] {
        try FileSystem.checkPath(path)
        return try Self.make(FileSystem.join(path, Self.states))
    }

    private static func make(_ directory: String) throws -> [String] {
        guard try !FileSystem.isDirectory(directory) else { return [] }
        let parent = FileSystem.enclosingDirectory(of: directory)
        let before = parent != directory && parent.utf8.count < directory.utf8.count ? try make(parent) : []
        guard withSystemPath(directory, { mkdir($0, 0o777) }) == 0 || errno == EEXIST else {
            throw LyraError(.io, "\(directory): cannot make the directory: \(systemMessage())")
        }
        return before + [directory]
    }

    package func state(_ step: Int) -> String {
        let digits = String(step), zeros = String(repeating: "0", count: max(0, 9 - digits.count))
        return FileSystem.join(FileSystem.join(path, Self.states), Self.prefix + zeros + digits + Self.suffix)
    }

    /// The updates after which states were saved, in order.
    ///
    /// - Throws: `LyraError.io` if the directory cannot be read.
    package func savedSteps() throws -> [Int] {
        try FileSystem.entries(of: FileSystem.join(path, Self.states)).compactMap { name in
            guard name.hasPrefix(Self.prefix), name.hasSuffix(Self.suffix) else { return nil }
            return Int(name.dropFirst(Self.prefix.count).dropLast(Self.suffix.count))
        }.sorted()
    }

    /// Removes all but the last states.
    package func removeOldStates() throws {
        for step in try savedSteps().dropLast(kept) { try Self.remove(state(step)) }
    }

    /// Removes all states, for a run that begins anew. Call this only with the log open, which keeps other runs out.
    package func clear() throws {
        for step in try savedSteps() { try Self.remove(state(step)) }
        try Self.remove(best)
    }

    /// Removes states that were being written when a process was killed. Call this only with the log open.
    package func removeUnfinished() throws {
        for (folder, prefix) in [(FileSystem.join(path, Self.states), Self.prefix), (path, "best" + Self.suffix)] {
            for name in try FileSystem.entries(of: folder) where name.hasPrefix(prefix) && name.hasSuffix(".partial") {
                try Self.remove(FileSystem.join(folder, name))
            }
        }
    }

    static func remove(_ file: String) throws {
        guard withSystemPath(file, { unlink($0) }) == 0 || errno == ENOENT else {
            throw LyraError(.io, "\(file): cannot remove: \(systemMessage())")
        }
    }
}
