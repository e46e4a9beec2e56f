import Glibc
import LyraBase
import LyraFormats

/// A directory that appears under its name only when it is complete: filled beside it under another name, then renamed.
final class OutputDirectory {
    /// The directory's name in the end.
    let path: String
    /// Its name until then.
    let temporary: String
    /// Where each file came from, by its place in the directory.
    private(set) var sources: [(place: String, source: String)] = []
    private var folders: Set<String> = []
    private var isOpen = true

    /// - Throws: `LyraError.io` if there is something at `path` other than an empty directory, or the directory cannot
    ///   be made; `.argument` for what is no path.
    init(path: String) throws {
        try FileSystem.checkPath(path)
        self.path = path
        // The temporary directory lies beside this one, so a slash at the end must go.
        var name = path.utf8[...]
        while name.count > 1, name.last == UInt8(ascii: "/") { name.removeLast() }
        let isOccupied = try FileSystem.isFile(path) || FileSystem.isSpecial(path)
        guard try !isOccupied && FileSystem.entries(of: path).isEmpty else {
            throw LyraError(
                .io, "\(path): there is something at that place; name an empty directory, or one that is not there yet")
        }
        temporary = "\(Substring(name)).\(getpid())-\(UInt32.random(in: 0 ... .max)).partial"
        let code = UnfinishedFiles.make(directory: temporary)
        guard code == 0 else {
            throw LyraError(.io, "\(path): cannot make a directory there: \(systemMessage(code))")
        }
    }

    deinit { discard() }

    /// Where a file of this name is until the directory is complete. Makes the folders that lead there.
    ///
    /// - Throws: `LyraError.io` if a folder cannot be made; `.argument` if the file was asked for before.
    private func place(_ name: String) throws -> String {
        let place = FileSystem.join(temporary, name)
        guard !sources.contains(where: { $0.place.utf8.elementsEqual(place.utf8) }) else {
            throw LyraError(.argument, "\(path): two files would have the name \(shown(name))")
        }
        var folder = ""
        for part in name.split(separator: "/").dropLast() {
            folder = FileSystem.join(folder, String(part))
            guard folders.insert(folder).inserted else { continue }
            let code = UnfinishedFiles.make(directory: FileSystem.join(temporary, folder))
            guard code == 0 else {
                throw LyraError(.io, "\(path): cannot make the directory \(shown(folder)): \(systemMessage(code))")
            }
        }
        return place
    }

    /// The path at which a writer makes a file of this name.
    func newFile(_ name: String) throws -> String {
        let place = try place(name)
        UnfinishedFiles.add(place)
        sources.append((place, FileSystem.join(path, name)))
        return place
    }

    func put(_ name: String, _ text: String) throws { try put(name, bytes: Array(text.utf8)) }

    func put(_ name: String, bytes: [UInt8]) throws {
        let file = try OutputFile(path: newFile(name))
        try bytes.withUnsafeBytes { try file.write($0, at: 0) }
        try file.commit()
    }

    /// Copies a text as it is.
    ///
    /// - Throws: `LyraError` if it cannot be read, or is longer than a text of its name may be.
    func copy(text source: String, as name: String) throws {
        let bytes = try MappedFile.contents(path: source, limit: JSONFile.limit(of: name))
        try put(name, bytes: bytes)
        note(name, source)
    }

    /// Gives a file a further name in this directory: a hard link, else a symbolic link.
    ///
    /// - Returns: false if neither is possible here
    func link(_ source: String, as name: String) throws -> Bool {
        let place = try place(name)
        // A link to a symbolic link would depend on the place that it is read from.
        let target = try FileSystem.resolved(source)
        let isLinked = withSystemPath(target) { from in
            withSystemPath(place) { place in Glibc.link(from, place) == 0 || symlink(from, place) == 0 }
        }
        guard isLinked else { return false }
        UnfinishedFiles.add(place)
        sources.append((place, source))
        return true
    }

    /// Bytes that are copied at once.
    private static let pieceBytes = 16 << 20

    /// Copies a large file.
    ///
    /// - Parameter check: called before each piece; throws to give up
    func copy(_ source: String, as name: String, check: () throws -> Void) throws {
        let file = try MappedFile(path: source)
        let output = try OutputFile(path: newFile(name))
        note(name, source)
        try output.reserve(file.bytes.count)
        for start in stride(from: 0, to: file.bytes.count, by: Self.pieceBytes) {
            try check()
            let piece = file.bytes[start..<min(start + Self.pieceBytes, file.bytes.count)]
            try output.write(UnsafeRawBufferPointer(rebasing: piece), at: start)
            file.dropResidentPages(of: UnsafeRawBufferPointer(rebasing: piece))
        }
        try output.commit()
        withExtendedLifetime(file) {}
    }

    /// Says where the files of a folder come from, for messages.
    func describe(_ folder: String, as source: String) {
        sources.append((FileSystem.join(temporary, folder), source))
    }

    private func note(_ name: String, _ source: String) {
        let place = FileSystem.join(temporary, name)
        if let index = sources.lastIndex(where: { $0.place == place }) { sources[index].source = source }
    }

    /// A message about this directory's files with the names of the files that they were made of.
    func explaining(_ message: String) -> String {
        var message = message
        for (place, source) in sources.sorted(by: { $0.place.utf8.count > $1.place.utf8.count }) {
            message = replacing(place, in: message, by: source)
        }
        return replacing(temporary, in: message, by: path)
    }

    private func replacing(_ old: String, in text: String, by new: String) -> String {
        let (old, new) = (Array(SystemPath.printable(old).utf8), Array(SystemPath.printable(new).utf8))
        var result: [UInt8] = [], rest = Array(text.utf8)[...]
        while !rest.isEmpty {
            if rest.starts(with: old) {
                result += new
                rest = rest.dropFirst(old.count)
            } else {
                result.append(rest.removeFirst())
            }
        }
        return String(decoding: result, as: UTF8.self)
    }

    /// Gives the directory its name.
    ///
    /// - Throws: `LyraError.io` if the system refuses; the directory is then gone.
    func commit() throws {
        let code = UnfinishedFiles.finish(directory: temporary, as: path)
        guard code == 0 else {
            discard()
            throw LyraError(.io, "\(path): cannot give the directory its name: \(systemMessage(code))")
        }
        isOpen = false
    }

    /// Removes what was written; does nothing after `commit`.
    func discard() {
        guard isOpen else { return }
        isOpen = false
        UnfinishedFiles.discard(directory: temporary)
    }
}
