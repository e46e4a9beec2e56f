import Lyra
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
        Paths are relative to the manifest.
        """

    private(set) var entries: [Entry] = []

    /// - Throws: `LyraError` that names the file and the line.
    init(path: String) throws {
        if FileSystem.isDirectory(path) {
            try addFolder(path)
        } else if path.hasSuffix(Self.librispeech) {
            try addTranscripts(path, shownAs: "")
        } else {
            try addLines(path)
        }
        guard !entries.isEmpty else {
            let kind = FileSystem.isDirectory(path) ? "no file in it ends in \(Self.librispeech)" : "it has no lines"
            throw LyraError(.format, "\(path): not a manifest: \(kind)")
        }
    }

    private static let librispeech = ".trans.txt"

    private mutating func addLines(_ path: String) throws {
        let directory = FileSystem.parent(of: path)
        try TextLines.read(path) { line, place in
            let name: String, text: String
            if line.first == "{" {
                let object = try TextLines.decode(Line.self, line, place)
                guard let audio = object.audio ?? object.speech else {
                    throw LyraError(.format, "\(place): the key \"audio\" is missing")
                }
                (name, text) = (audio, object.text)
            } else if let tab = line.firstIndex(of: "\t") {
                (name, text) = (String(line[..<tab]), String(line[line.index(after: tab)...]))
            } else {
                throw LyraError(.format, "\(place): neither a JSON object nor a path, a tab and a text")
            }
            let isAbsolute = name.hasPrefix("/")
            entries.append(Entry(name: name, path: isAbsolute ? name : FileSystem.join(directory, name), text: text))
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
        try TextLines.read(path) { line, place in
            guard let space = line.firstIndex(of: " ") else {
                throw LyraError(.format, "\(place): not an identifier, a space and a text")
            }
            let name = String(line[..<space])
            let file = ["flac", "wav", "ogg", "opus", "mp3"].map { "\(name).\($0)" }
                .first { FileSystem.isFile(FileSystem.join(directory, $0)) }
            // One that is not there is found out, and named, when it is to be read.
            let found = file ?? name + ".flac"
            entries.append(
                Entry(
                    name: prefix + found, path: FileSystem.join(directory, found),
                    text: String(line[line.index(after: space)...])))
        }
    }

    private mutating func addFolder(_ root: String, _ inside: String = "", depth: Int = 0) throws {
        let directory = inside.isEmpty ? root : FileSystem.join(root, inside)
        for name in FileSystem.entries(of: directory) {
            let path = FileSystem.join(directory, name)
            if FileSystem.isDirectory(path) {
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
        let bytes = try MappedFile.contents(path: path, limit: sizeLimit)
        for (index, line) in bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false).enumerated() {
            let place = "\(path), line \(index + 1)"
            let line = line.last == UInt8(ascii: "\r") ? line.dropLast() : line
            guard let text = String(validating: line, as: UTF8.self) else {
                throw LyraError(.format, "\(place): not UTF-8 text")
            }
            if !text.allSatisfy(\.isWhitespace) { try body(text, place) }
        }
    }

    static func decode<T: Decodable>(_ type: T.Type, _ line: String, _ place: String) throws -> T {
        var line = line
        return try line.withUTF8 { try JSONFile.decode(type, from: UnsafeRawBufferPointer($0), source: place) }
    }
}
