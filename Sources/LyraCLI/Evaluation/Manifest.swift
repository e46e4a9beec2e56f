import Lyra
import LyraBase
import LyraFormats

/// Recordings and what is said in them.
struct Manifest {
    struct Entry {
        /// Relative to the manifest's directory, or absolute, as it is written there.
        var name: String
        var path: String
        var text: String
    }

    static let help = """
        The manifest is one of:
          a file of JSON lines: {"audio": "a.wav", "text": "what is said"} ("speech" in place of "audio" will do)
          a file of lines with a tab: a.wav<TAB>what is said
          a *.trans.txt of LibriSpeech, or a folder with such files somewhere in it: the recordings lie beside them
        Paths are relative to the manifest; if it comes through standard input, to the current directory.
        """

    private(set) var entries: [Entry] = []

    /// - Throws: `LyraError` that names the file and the line.
    init(_ file: InputFile) throws {
        let path = try file.path()
        if try FileSystem.isDirectory(path) {
            try addFolder(path)
        } else if path.hasSuffix(Self.librispeech) {
            try addTranscripts(path, shownAs: "")
        } else {
            try addLines(path, directory: file.isStandardInput ? "." : FileSystem.parent(of: path))
        }
        guard !entries.isEmpty else {
            let isFolder = try FileSystem.isDirectory(path)
            let kind = isFolder ? "no file in it ends in \(Self.librispeech)" : "it has no lines"
            throw LyraError(.format, "\(path): not a manifest: \(kind)")
        }
    }

    private static let librispeech = ".trans.txt"

    private mutating func addLines(_ path: String, directory: String) throws {
        try TextLines.readBytes(path) { line, place in
            let name: String, text: String
            if line.first == UInt8(ascii: "{") {
                let object = try TextLines.decode(Line.self, TextLines.text(line, place), place)
                guard let audio = object.audio ?? object.speech else {
                    throw LyraError(.format, "\(place): the key \"audio\" is missing")
                }
                (name, text) = (SystemPath.string(audio.utf8), object.text)
            } else if let tab = line.firstIndex(of: UInt8(ascii: "\t")) {
                (name, text) = (SystemPath.string(line[..<tab]), try TextLines.text(line[(tab + 1)...], place))
            } else {
                throw LyraError(.format, "\(place): neither a JSON object nor a path, a tab and a text")
            }
            let path = FileSystem.isAbsolute(name) ? name : FileSystem.join(directory, name)
            entries.append(Entry(name: name, path: path, text: text))
        }
    }

    private struct Line: Decodable {
        var audio: String?
        var speech: String?
        var text: String
    }

    /// Each line is an identifier, a space and the text; the recording is the identifier's file beside it.
    private mutating func addTranscripts(_ path: String, shownAs prefix: String) throws {
        let directory = FileSystem.parent(of: path)
        try TextLines.readBytes(path) { line, place in
            guard let space = line.firstIndex(of: UInt8(ascii: " ")) else {
                throw LyraError(.format, "\(place): not an identifier, a space and a text")
            }
            let name = SystemPath.string(line[..<space])
            let file = try ["flac", "wav", "ogg", "opus", "mp3"].map { "\(name).\($0)" }
                .first { try FileSystem.isFile(FileSystem.join(directory, $0)) }
            // One that is not there is found out, and named, when it is to be read.
            let found = file ?? name + ".flac"
            entries.append(
                Entry(
                    name: prefix + found, path: FileSystem.join(directory, found),
                    text: try TextLines.text(line[(space + 1)...], place)))
        }
    }

    private mutating func addFolder(_ root: String, _ inside: String = "", depth: Int = 0) throws {
        let directory = inside.isEmpty ? root : FileSystem.join(root, inside)
        for name in try FileSystem.entries(of: directory) {
            let path = FileSystem.join(directory, name)
            if try FileSystem.isDirectory(path) {
                // LibriSpeech has three levels; a link that leads back must not go on forever.
                if depth < 8 { try addFolder(root, FileSystem.join(inside, name), depth: depth + 1) }
            } else if name.hasSuffix(Self.librispeech) {
                try addTranscripts(path, shownAs: inside.isEmpty ? "" : inside + "/")
            }
        }
    }
}

/// Text files that are read line by line.
enum TextLines {
    /// The longest such file: LibriSpeech's 960 hours have 50 MB of text.
    private static let sizeLimit = 1 << 30

    /// Calls `body` with every line that is not blank, without its end, and with its place: "file, line 3".
    ///
    /// - Throws: `LyraError.format` for a file that is no UTF-8 text, or what reading it and `body` throw.
    static func read(_ path: String, _ body: (_ line: String, _ place: String) throws -> Void) throws {
        try readBytes(path) { line, place in try body(text(line, place), place) }
    }

    /// The same for lines that begin with the name of a file, whose bytes need not be UTF-8.
    static func readBytes(_ path: String, _ body: (_ line: ArraySlice<UInt8>, _ place: String) throws -> Void) throws {
        let bytes = try MappedFile.contents(path: path, limit: sizeLimit)
        for (index, line) in bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false).enumerated() {
            let place = "\(path), line \(index + 1)"
            let line = line.last == UInt8(ascii: "\r") ? line.dropLast() : line
            let isBlank = String(validating: line, as: UTF8.self)?.allSatisfy(\.isWhitespace) ?? false
            if !isBlank { try body(line, place) }
        }
    }

    /// - Throws: `LyraError.format` for what is not UTF-8
    static func text(_ bytes: ArraySlice<UInt8>, _ place: String) throws -> String {
        guard let text = String(validating: bytes, as: UTF8.self) else {
            throw LyraError(.format, "\(place): not UTF-8 text")
        }
        return text
    }

    static func decode<T: Decodable>(_ type: T.Type, _ line: String, _ place: String) throws -> T {
        var line = line
        return try line.withUTF8 { try JSONText.decode(type, from: UnsafeRawBufferPointer($0), source: place) }
    }
}
