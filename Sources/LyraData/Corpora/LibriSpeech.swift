import LyraBase
import LyraFormats

/// LibriSpeech's folders (openslr.org/12): in speaker/chapter, recordings ID.flac, and the file *.trans.txt with a line
/// "ID TEXT" for each.
package enum LibriSpeech {
    /// The endings of recordings; LibriSpeech has FLAC, copies of it have others.
    private static let endings = [".flac", ".wav", ".ogg", ".opus", ".mp3"]
    private static let transcripts = ".trans.txt"
    /// A corpus has four levels. The limit ends circles of links.
    private static let depthLimit = 8

    /// All utterances below a folder, in the order of their names: those that a transcript names, and recordings beside
    /// a transcript that does not name them.
    ///
    /// - Parameter check: called for each folder; throws to stop
    /// - Throws: `LyraError.missing` if there is no folder or no transcript in it; `.io` if a folder or transcript
    ///   cannot be read.
    package static func utterances(in folder: String, check: () throws -> Void) throws -> [Utterance] {
        guard try FileSystem.isDirectory(folder) else { throw LyraError(.missing, "\(folder): no such directory") }
        var found: [Utterance] = []
        try collect(folder, depth: 0, into: &found, check)
        guard !found.isEmpty else {
            throw LyraError(.missing, "\(folder): not LibriSpeech: no file in it ends in \(transcripts)")
        }
        return found
    }

    private static func collect(
        _ folder: String, depth: Int, into found: inout [Utterance], _ check: () throws -> Void
    ) throws {
        try check()
        var recordings: [String: String] = [:], texts: [String] = []
        for name in try FileSystem.entries(of: folder) where !FileSystem.isReserved(name) {
            let path = FileSystem.join(folder, name)
            if let ending = endings.first(where: name.hasSuffix) {
                let id = String(name.unicodeScalars.dropLast(ending.unicodeScalars.count))
                recordings[id] = recordings[id] ?? path
            } else if name.hasSuffix(transcripts) {
                texts.append(path)
            } else if depth < depthLimit, try FileSystem.isDirectory(path) {
                try collect(path, depth: depth + 1, into: &found, check)
            }
        }
        guard !texts.isEmpty else { return }
        for path in texts { found += try utterances(transcript: path, in: folder, &recordings) }
        for (id, path) in recordings.sorted(by: { $0.value.utf8.lexicographicallyPrecedes($1.value.utf8) }) {
            found.append(
                Utterance(id: id, path: path, text: .missing(reason: "\(path): no transcript names this recording")))
        }
    }

    /// Takes what the transcript names out of `recordings`.
    private static func utterances(
        transcript: String, in folder: String, _ recordings: inout [String: String]
    ) throws -> [Utterance] {
        var found: [Utterance] = []
        try TextFileLines(path: transcript).forEach { line, number in
            guard line.contains(where: { $0 > 0x20 }) else { return }
            let name = line.prefix { $0 != 0x20 && $0 != 0x09 }
            let id = SystemPath.string(name)
            let path = recordings.removeValue(forKey: id) ?? FileSystem.join(folder, id + ".flac")
            let rest = trimmedText(line.dropFirst(name.count))
            guard let text = rest, !text.isEmpty else {
                let fault = rest == nil ? "the text is not UTF-8" : "there is no text after the name"
                let reason = "\(transcript), line \(number): \(fault)"
                return found.append(Utterance(id: id, path: path, text: .missing(reason: reason)))
            }
            found.append(Utterance(id: id, path: path, text: .known(text)))
        }
        return found
    }
}
