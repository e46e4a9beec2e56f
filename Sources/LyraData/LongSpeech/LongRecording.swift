import LyraBase
import LyraFormats

/// A recording with the file of its transcript.
package struct LongRecording: Sendable, Equatable {
    package var path: String
    /// nil if none was found.
    package var transcript: String?
    /// The recording's name without its ending, made distinct from the names before.
    package var id: String

    /// The endings by which recordings are found in a folder.
    private static let recordingEndings = [
        "aac", "aiff", "flac", "m4a", "mka", "mkv", "mov", "mp3", "mp4", "oga", "ogg", "opus", "wav", "webm", "wma",
    ]
    private static let transcriptEndings = ["vtt", "srt", "json"]

    /// Finds a transcript for each recording.
    ///
    /// As many transcript files as recordings, and no folders, belong together in their order. Otherwise the names
    /// decide: talk.vtt, talk.en.srt, talk.json or talk.mp3.json belong to talk.mp3; the shortest name is taken.
    ///
    /// - Parameters:
    ///   - recordings: files, or folders of files
    ///   - transcripts: files, or folders of files; if empty, the folders of the recordings
    /// - Throws: `LyraError.missing` if a path does not exist or there are no recordings.
    package static func pairs(recordings: [String], transcripts: [String]) throws -> [LongRecording] {
        let files = try recordings.flatMap { try expanded($0, recordingEndings) }
        guard !files.isEmpty else {
            throw LyraError(
                .missing, "no recordings in \(recordings.joined(separator: ", ")): no file with a known ending")
        }
        let noFolders = try (recordings + transcripts).allSatisfy { try !FileSystem.isDirectory($0) }
        if noFolders, transcripts.count == files.count {
            for path in transcripts where try !FileSystem.isFile(path) {
                throw LyraError(.missing, "\(path): no such file")
            }
            return named(zip(files, transcripts).map { ($0, $1) })
        }
        let shared = try transcripts.flatMap { try expanded($0, transcriptEndings) }
        let all = Candidates(shared)
        var folders: [String: Candidates] = [:]
        return named(
            try files.map { path in
                guard transcripts.isEmpty else { return (path, all.transcript(of: path)) }
                let folder = FileSystem.parent(of: path)
                let found = try folders[folder] ?? Candidates(expanded(folder, transcriptEndings))
                folders[folder] = found
                return (path, found.transcript(of: path))
            })
    }

    private static func expanded(_ path: String, _ endings: [String]) throws -> [String] {
        guard try FileSystem.isDirectory(path) else {
            guard try FileSystem.isFile(path) else { throw LyraError(.missing, "\(path): no such file") }
            return [path]
        }
        func isFound(_ name: String) -> Bool {
            !FileSystem.isReserved(name) && endings.contains { name.lowercased().hasSuffix("." + $0) }
        }
        return try FileSystem.entries(of: path).filter(isFound).map { FileSystem.join(path, $0) }
    }

    private static func named(_ pairs: [(String, String?)]) -> [LongRecording] {
        var uses: [String: Int] = [:], ids: Set<String> = []
        return pairs.map { path, transcript in
            let name = SystemPath.printable(stem(FileSystem.name(of: path)))
            var id = name
            repeat {
                let use = (uses[name] ?? 0) + 1
                uses[name] = use
                id = name + (use > 1 ? "-\(use)" : "")
            } while !ids.insert(id).inserted
            return LongRecording(path: path, transcript: transcript, id: id)
        }
    }

    /// A file's name without its last ending.
    private static func stem(_ name: String) -> String {
        guard let dot = name.unicodeScalars.lastIndex(of: "."), dot > name.startIndex else { return name }
        return String(name.unicodeScalars[..<dot])
    }

    /// Transcripts by every beginning of their names that ends before a dot.
    private struct Candidates {
        private var byStem: [String: String] = [:]

        init(_ paths: [String]) {
            // The shortest name first, which then stays.
            for path in paths.sorted(by: { ($0.utf8.count, $0) < ($1.utf8.count, $1) }) {
                let name = FileSystem.name(of: path)
                var stem = LongRecording.stem(name)
                while byStem[stem] == nil {
                    byStem[stem] = path
                    stem = LongRecording.stem(stem)
                }
            }
        }

        func transcript(of recording: String) -> String? {
            let name = FileSystem.name(of: recording)
            return byStem[name] ?? byStem[LongRecording.stem(name)]
        }
    }
}
