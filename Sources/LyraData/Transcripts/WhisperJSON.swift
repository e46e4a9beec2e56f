import LyraBase

/// Transcripts in JSON as programs around Whisper write them.
///
/// | program | form |
/// |---|---|
/// | OpenAI's whisper, WhisperX, faster-whisper | `{"segments": [{"start": 0.0, "end": 4.2, "text": " Hello"}]}` |
/// | whisper.cpp | `{"transcription": [{"offsets": {"from": 0, "to": 4200}, "text": " Hello"}]}`, in milliseconds |
/// | transformers | `{"chunks": [{"timestamp": [0.0, 4.2], "text": " Hello"}]}` |
///
/// Also a list alone, of the first form.
enum WhisperJSON {
    /// - Throws: `LyraError.format`, naming the place, if it is JSON of another form, or a time is not a number or
    ///   negative.
    static func cues(_ bytes: [UInt8], name: String) throws -> [Cue] {
        let segments: [Segment]
        if bytes.first(where: { $0 > 0x20 }) == UInt8(ascii: "[") {
            segments = try bytes.withUnsafeBytes { try JSONText.decode([Segment].self, from: $0, source: name) }
        } else {
            let file = try bytes.withUnsafeBytes { try JSONText.decode(File.self, from: $0, source: name) }
            guard let found = file.segments ?? file.transcription ?? file.chunks else {
                throw LyraError(
                    .format, "\(name): not a transcript: there is none of the keys segments, transcription and chunks")
            }
            segments = found
        }
        var cues: [Cue] = []
        for (index, segment) in segments.enumerated() {
            let text = CueText.plain(segment.text.split(whereSeparator: \.isNewline).joined(separator: " "))
            guard !text.isEmpty else { continue }
            guard let (start, end) = segment.times else {
                throw LyraError(.format, "\(name): segment \(index + 1) has no start and end in seconds")
            }
            // The last segment of a recording that breaks off can lack its end.
            let last = try checked(end ?? start, index, name)
            cues.append(Cue(start: try checked(start, index, name), end: max(start, last), text: text))
        }
        return cues
    }

    /// The latest time that is read: 10,000 hours, as in subtitles.
    private static let latest = 3.6e7

    private static func checked(_ time: Double, _ index: Int, _ name: String) throws -> Double {
        guard (0...latest).contains(time) else {
            throw LyraError(
                .format, "\(name): segment \(index + 1) is at \(time) s, which is not a time in a recording")
        }
        return time
    }

    private struct File: Decodable {
        var segments: [Segment]?
        var transcription: [Segment]?
        var chunks: [Segment]?
    }

    private struct Segment: Decodable {
        var start: Double?
        var end: Double?
        var offsets: Offsets?
        var timestamp: [Double?]?
        var text: String

        struct Offsets: Decodable {
            var from: Double
            var to: Double
        }

        /// In seconds.
        var times: (start: Double, end: Double?)? {
            if let start { return (start, end) }
            if let offsets { return (offsets.from / 1000, offsets.to / 1000) }
            guard let timestamp, timestamp.count == 2, let start = timestamp[0] else { return nil }
            return (start, timestamp[1])
        }
    }
}
