import LyraBase
import LyraFormats

/// A piece of a transcript with its times in seconds.
package struct Cue: Sendable, Equatable {
    package var start: Double
    package var end: Double
    /// What is said, on one line, without mark-up.
    package var text: String

    package init(start: Double, end: Double, text: String) { (self.start, self.end, self.text) = (start, end, text) }
}

/// What is said in a recording, and when.
package struct TimedTranscript: Sendable {
    /// In the order of their starts. They may overlap.
    package private(set) var cues: [Cue]
    /// Places of cues that were left out because their times cannot be read.
    package private(set) var omissions: [String] = []

    /// The largest transcript that is read, in bytes: days of speech, with a time for each word.
    private static let sizeLimit = 64 << 20

    /// Reads WebVTT, SubRip (SRT), or the JSON of Whisper; the content decides which.
    ///
    /// - Throws: `LyraError.missing` or `.io` if the file cannot be read, `.format` if it is none of them, has no cue
    ///   with text, or has more than 1 % of cues whose times cannot be read.
    package init(path: String) throws {
        try self.init(MappedFile.contents(path: path, limit: Self.sizeLimit), name: path)
    }

    /// The same, for a file's bytes.
    package init(_ bytes: [UInt8], name: String) throws {
        let text = try TranscriptText(bytes, name: name)
        switch text.firstByte {
        case UInt8(ascii: "{"), UInt8(ascii: "["): cues = try WhisperJSON.cues(text.bytes, name: name)
        default:
            let file = try SubtitleFile(text)
            (cues, omissions) = (file.cues, file.omissions)
        }
        guard Double(omissions.count) <= 0.01 * Double(cues.count + omissions.count) || omissions.count == 1 else {
            throw LyraError(.format, "\(name): the times of \(omissions.count) cues cannot be read: \(omissions[0])")
        }
        guard !cues.isEmpty else { throw LyraError(.format, "\(name): there is no cue with text in it") }
        let order = cues.indices.sorted { (cues[$0].start, $0) < (cues[$1].start, $1) }
        cues = order.map { cues[$0] }
    }

    package init(cues: [Cue]) { self.cues = cues }

    /// The end of the last cue, in seconds.
    package var end: Double { cues.reduce(0) { max($0, $1.end) } }
}

/// A transcript's text in UTF-8.
struct TranscriptText {
    let name: String
    /// Without a byte order mark.
    let bytes: [UInt8]

    /// - Throws: `LyraError.format` if it is neither UTF-8 nor, with a byte order mark, UTF-16.
    init(_ bytes: [UInt8], name: String) throws {
        self.name = name
        if bytes.starts(with: [0xFF, 0xFE]) || bytes.starts(with: [0xFE, 0xFF]) {
            let (low, high) = bytes[0] == 0xFF ? (0, 1) : (1, 0)
            let units = stride(from: 2, to: bytes.count - 1, by: 2).map {
                UInt16(bytes[$0 + low]) | UInt16(bytes[$0 + high]) << 8
            }
            self.bytes = Array(String(decoding: units, as: UTF16.self).utf8)
            return
        }
        let text = bytes.starts(with: [0xEF, 0xBB, 0xBF]) ? Array(bytes.dropFirst(3)) : bytes
        guard String(validating: text, as: UTF8.self) != nil else {
            throw LyraError(
                .format, "\(name): not UTF-8 text; convert it, for example: iconv -f WINDOWS-1252 -t UTF-8")
        }
        self.bytes = text
    }

    /// The first byte that is not white space.
    var firstByte: UInt8? { bytes.first { $0 > 0x20 } }

    /// The lines, which end in LF, CR or both.
    var lines: [String] {
        var lines: [String] = [], start = 0
        while start < bytes.count {
            let end = bytes[start...].firstIndex { $0 == 0x0A || $0 == 0x0D } ?? bytes.count
            lines.append(String(decoding: bytes[start..<end], as: UTF8.self))
            start = end + (bytes[end...].starts(with: [0x0D, 0x0A]) ? 2 : 1)
        }
        return lines
    }
}
