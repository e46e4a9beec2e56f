import Glibc
import LyraBase

extension FileSystem {
    /// The most entries of one directory: more than any checkpoint or folder of recordings has.
    private static let maxEntries = 100_000

    /// The names in a directory, sorted by their bytes, without `.` and `..`; none if there is no such directory.
    ///
    /// - Throws: `.io`, with the path and the reason, when the directory cannot be read completely; `.unsupported` for
    ///   more than 100,000 names.
    public static func entries(of directory: String) throws -> [String] {
        guard !directory.utf8.contains(0) else { return [] }
        guard let stream = withSystemPath(directory, opendir) else {
            let code = errno
            guard !meansAbsent(code) else { return [] }
            throw LyraError(.io, "\(shownPath(directory)): cannot read the directory: \(systemMessage(code))")
        }
        defer { closedir(stream) }
        var names: [String] = []
        while true {
            errno = 0
            guard let entry = readdir(stream) else { break }
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { SystemPath.string(cString: $0) }
            }
            guard name != ".", name != ".." else { continue }
            guard names.count < maxEntries else {
                throw LyraError(.unsupported, "\(directory): more than \(maxEntries) entries in one directory")
            }
            names.append(name)
        }
        guard errno == 0 else {
            throw LyraError(.io, "\(directory): cannot read the directory to its end: \(systemMessage())")
        }
        // Swift compares strings by Unicode equivalence, which would treat two spellings of "é" as one name.
        return names.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
    }

    /// The absolute path of the file at `path`, without links and dots (`realpath`); `path` itself if there is no file.
    ///
    /// - Throws: `.io`, with the path and the reason, when the system call fails.
    public static func resolved(_ path: String) throws -> String {
        guard !path.utf8.contains(0) else { return path }
        guard let absolute = withSystemPath(path, { realpath($0, nil) }) else {
            let code = errno
            guard !meansAbsent(code) else { return path }
            throw LyraError(.io, "\(shownPath(path)): cannot be accessed: \(systemMessage(code))")
        }
        defer { free(absolute) }
        return SystemPath.string(cString: absolute)
    }

    /// The parent of the directory at `path`. The last component is dropped from the text, without following links; to
    /// a path that ends in "." or ".." another ".." is appended.
    public static func enclosingDirectory(of path: String) -> String {
        var name = path.unicodeScalars[...]
        while name.count > 1, name.last == "/" { name.removeLast() }
        let last = path.utf8.split(separator: slash).last.map { String(Substring($0)) } ?? ""
        if last == "." || last == ".." || name.isEmpty { return join(String(name), "..") }
        return last.isEmpty ? "/" : parent(of: String(name))
    }

    /// The last part of a path: "c" of "a/b/c/". Empty for the root.
    public static func name(of path: String) -> String {
        path.utf8.split(separator: slash).last.map { String(Substring($0)) } ?? ""
    }

    /// The directory that a path lies in: "." for a plain name.
    public static func parent(of path: String) -> String {
        guard let last = path.utf8.lastIndex(of: slash) else { return "." }
        return last == path.startIndex ? "/" : String(path.unicodeScalars[..<last])
    }
}
