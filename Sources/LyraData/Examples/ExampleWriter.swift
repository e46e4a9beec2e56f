import LyraBase
import LyraFormats

/// Writes examples: a JSON list to a file whose name ends in `.json`, JSON lines to any other. The file appears when it
/// is complete.
package final class ExampleWriter {
    private let file: OutputFile
    private let isList: Bool
    private var pending: [UInt8] = []
    private var offset = 0
    package private(set) var count = 0

    /// Bytes that are collected before they are written.
    private static let blockSize = 1 << 16

    /// - Throws: `LyraError.io` if the file cannot be created.
    package init(path: String) throws {
        guard try !FileSystem.isDirectory(path) else { throw LyraError(.io, "\(path): a directory; name a file") }
        file = try OutputFile(path: path)
        isList = path.hasSuffix(".json")
    }

    /// - Parameter json: one JSON object without line breaks
    /// - Throws: `LyraError.io`, for example on a full disk.
    package func append(_ json: some Sequence<UInt8>) throws {
        if isList { pending += (count == 0 ? "[\n" : ",\n").utf8 }
        pending += json
        if !isList { pending.append(UInt8(ascii: "\n")) }
        count += 1
        if pending.count >= Self.blockSize { try flush() }
    }

    package func append(_ example: DataExample) throws { try append(example.json.utf8) }

    /// Completes the file and gives it its name.
    package func finish() throws {
        if isList { pending += (count == 0 ? "[]\n" : "\n]\n").utf8 }
        try flush()
        try file.commit()
    }

    private func flush() throws {
        try pending.withUnsafeBytes { try file.write($0, at: offset) }
        offset += pending.count
        pending.removeAll(keepingCapacity: true)
    }
}
