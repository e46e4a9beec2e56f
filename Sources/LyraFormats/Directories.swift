import Glibc
import LyraTensor

extension FileSystem {
    /// The names in a directory, sorted by their bytes, without `.` and `..`; none if it cannot be read. At most 10,000.
    public static func entries(of directory: String) -> [String] {
        guard !directory.utf8.contains(0), let stream = withSystemPath(directory, opendir) else { return [] }
        defer { closedir(stream) }
        var names: [String] = []
        while names.count < 10_000, let entry = readdir(stream) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { SystemPath.string(cString: $0) }
            }
            if name != ".", name != ".." { names.append(name) }
        }
        // Not as strings are compared, to which different spellings of one accented letter are equal.
        return names.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
    }

    /// The absolute path, without links and dots, of what is at `path`; a path that leads nowhere, as it is.
    public static func resolved(_ path: String) -> String {
        guard !path.utf8.contains(0), let absolute = withSystemPath(path, { realpath($0, nil) }) else { return path }
        defer { free(absolute) }
        return SystemPath.string(cString: absolute)
    }

    /// The directory that a path lies in: "." for a plain name.
    public static func parent(of path: String) -> String {
        guard let last = path.utf8.lastIndex(of: slash) else { return "." }
        return last == path.startIndex ? "/" : String(path.unicodeScalars[..<last])
    }
}
