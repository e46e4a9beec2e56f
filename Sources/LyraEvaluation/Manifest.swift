import LyraBase
import LyraDatasets
import LyraFormats

/// Recordings with their texts.
package struct Manifest {
    package struct Entry {
        /// The path as the manifest has it: absolute, or relative to the manifest's directory.
        package var name: String
        package var path: String
        package var text: String
    }

    package static let help = """
        The manifest is one of:
          a file of JSON lines, not a JSON list: {"audio": "a.wav", "text": "the words of a.wav"};
          "speech" and "long_speech" also stand for "audio", "speech_asr" for "text"
          a file of lines with a tab: a.wav<TAB>the words of a.wav
          a LibriSpeech *.trans.txt beside its recordings, or a folder with such files at any level
        Paths are relative to the manifest, or to the current directory if the manifest is standard input.
        """

    package private(set) var entries: [Entry] = []

    /// - Parameters:
    ///   - path: a file or a folder
    ///   - directory: base of relative paths in a file; nil is the file's directory
    /// - Throws: `LyraError` that names the file and the line.
    package init(path: String, relativeTo directory: String? = nil) throws {
        if try FileSystem.isDirectory(path) {
            try addFolder(path)
        } else if path.hasSuffix(Self.librispeech) {
            try addTranscripts(path, shownAs: "")
        } else {
            try addLines(path, directory: directory ?? FileSystem.parent(of: path))
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
                name = SystemPath.string(try object.recording(place).utf8)
                text = try object.words(place)
            } else if let tab = line.firstIndex(of: UInt8(ascii: "\t")) {
                (name, text) = (SystemPath.string(line[..<tab]), try TextLines.text(line[(tab + 1)...], place))
            } else if line.first == UInt8(ascii: "[") {
                throw LyraError(.format, "\(place): a JSON list; write each of its objects on a line of its own")
            } else {
                throw LyraError(.format, "\(place): neither a JSON object nor a path, a tab and a text")
            }
            let path = FileSystem.isAbsolute(name) ? name : FileSystem.join(directory, name)
            entries.append(Entry(name: name, path: path, text: text))
        }
    }

    /// Keys of a manifest, or of a data set's item.
    private struct Line: Decodable {
        var audio, speech, long_speech: Texts?
        var text, speech_asr: Texts?

        func recording(_ place: String) throws -> String {
            let found = audio ?? speech ?? long_speech
            return try only(found, "\"audio\" (or \"speech\" or \"long_speech\")", "recordings", place)
        }

        func words(_ place: String) throws -> String {
            try only(text ?? speech_asr, "\"text\" (or \"speech_asr\")", "texts", place)
        }

        private func only(_ found: Texts?, _ key: String, _ things: String, _ place: String) throws -> String {
            guard let found else { throw LyraError(.format, "\(place): the key \(key) is missing") }
            guard let text = found.all.first, found.all.count == 1 else {
                throw LyraError(
                    .format,
                    "\(place): \(key) lists \(found.all.count) \(things); give each recording a line of its own")
            }
            return text
        }
    }

    /// Reads lines of an identifier, a space and a text. The identifier names the recording, which is beside the file.
    private mutating func addTranscripts(_ path: String, shownAs prefix: String) throws {
        let directory = FileSystem.parent(of: path)
        try TextLines.readBytes(path) { line, place in
            guard let space = line.firstIndex(of: UInt8(ascii: " ")) else {
                throw LyraError(.format, "\(place): not an identifier, a space and a text")
            }
            let name = SystemPath.string(line[..<space])
            let file = try ["flac", "wav", "ogg", "opus", "mp3"].map { "\(name).\($0)" }
                .first { try FileSystem.isFile(FileSystem.join(directory, $0)) }
            // A missing recording is reported when it is read.
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
                // LibriSpeech has three levels. The limit ends cycles of links.
                if depth < 8 { try addFolder(root, FileSystem.join(inside, name), depth: depth + 1) }
            } else if name.hasSuffix(Self.librispeech) {
                try addTranscripts(path, shownAs: inside.isEmpty ? "" : inside + "/")
            }
        }
    }
}
