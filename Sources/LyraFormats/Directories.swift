import Glibc

extension FileSystem {
    /// The names in a directory, sorted, without `.` and `..`; none if it cannot be read. At most 10,000.
    public static func entries(of directory: String) -> [String] {
        guard !directory.utf8.contains(0), let stream = opendir(directory) else { return [] }
        defer { closedir(stream) }
        var names: [String] = []
        while names.count < 10_000, let entry = readdir(stream) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name != ".", name != ".." { names.append(name) }
        }
        return names.sorted()
    }

    /// The absolute path, without links and dots, of what is at `path`; a path that leads nowhere, as it is.
    public static func resolved(_ path: String) -> String {
        guard !path.utf8.contains(0), let absolute = realpath(path, nil) else { return path }
        defer { free(absolute) }
        return String(cString: absolute)
    }

    /// The directory that a path lies in: "." for a plain name.
    public static func parent(of path: String) -> String {
        guard let slash = path.lastIndex(of: "/") else { return "." }
        return slash == path.startIndex ? "/" : String(path[..<slash])
    }
}
