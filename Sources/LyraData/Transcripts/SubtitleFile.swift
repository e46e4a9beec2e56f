import LyraBase

/// The cues of a WebVTT file (w3.org/TR/webvtt1) or an SRT file, as such files are found: with or without hours, with a
/// comma or a point in the seconds, without blank lines between cues, with comments and styles.
struct SubtitleFile {
    private(set) var cues: [Cue] = []
    /// Places of cues whose times cannot be read.
    private(set) var omissions: [String] = []

    private let name: String
    /// Lines of the previous cue that a rolling caption may repeat.
    private var previousLines: [String] = []

    /// - Throws: `LyraError.format` if nothing in the file looks like a cue.
    init(_ text: TranscriptText) throws {
        name = text.name
        let lines = text.lines
        let isWebVTT = lines.first?.hasPrefix("WEBVTT") ?? false
        let timings = Self.timings(lines, isWebVTT: isWebVTT)
        guard isWebVTT || !timings.isEmpty else {
            throw LyraError(
                .format, "\(name): not a transcript that lyra reads: neither WebVTT, nor SRT, nor Whisper's JSON")
        }
        for (index, line) in timings.enumerated() {
            let next = index + 1 < timings.count ? timings[index + 1] : lines.count
            let payload = Self.payload(Array(lines[line + 1..<next]), isWebVTT: isWebVTT, isLast: next == lines.count)
            add(lines[line], number: line + 1, payload)
        }
    }

    /// The lines with an arrow, except those in WebVTT's blocks of NOTE, STYLE and REGION.
    private static func timings(_ lines: [String], isWebVTT: Bool) -> [Int] {
        var timings: [Int] = [], isFirst = true, isComment = false
        for (index, line) in lines.enumerated() {
            // In WebVTT only an empty line ends a block.
            guard isWebVTT ? !line.isEmpty : !isBlank(line) else {
                isFirst = true
                continue
            }
            if isFirst { isComment = isWebVTT && isCommentStart(line) }
            isFirst = false
            if !isComment, arrow(in: Array(line.utf8)) != nil { timings.append(index) }
        }
        return timings
    }

    private static func isCommentStart(_ line: String) -> Bool {
        ["NOTE", "STYLE", "REGION"].contains { line == $0 || line.hasPrefix($0 + " ") || line.hasPrefix($0 + "\t") }
    }

    private static func arrow(in line: [UInt8]) -> Int? {
        line.indices.first { line[$0] == UInt8(ascii: "-") && line[$0...].starts(with: "-->".utf8) }
    }

    private static func isBlank(_ line: String) -> Bool { line.allSatisfy(\.isWhitespace) }

    /// The text of a cue, from the lines between its times and those of the next cue.
    ///
    /// In WebVTT a cue's text ends at an empty line. In SRT it may contain empty lines; the number of the next cue is
    /// the last line.
    private static func payload(_ lines: [String], isWebVTT: Bool, isLast: Bool) -> [String] {
        if isWebVTT {
            let text = lines.prefix { !$0.isEmpty }
            // Without a blank line before it, the identifier of the next cue would look like text.
            let hasIdentifier = text.count == lines.count && !isLast && text.last.map(isNumber) ?? false
            return Array(hasIdentifier ? text.dropLast() : text)
        }
        var text = lines
        while let last = text.last, isBlank(last) { text.removeLast() }
        if !isLast, let last = text.last, isNumber(last) { text.removeLast() }
        return text.filter { !isBlank($0) }
    }

    private static func isNumber(_ line: String) -> Bool {
        let digits = trimmed(line)
        return !digits.isEmpty && digits.utf8.allSatisfy { (0x30...0x39).contains($0) }
    }

    private mutating func add(_ timing: String, number: Int, _ payload: [String]) {
        guard let (start, end) = Self.times(timing) else {
            return omissions.append("\(name), line \(number): \(shown(timing)) is not START --> END")
        }
        let lines = payload.map(CueText.plain).filter { !$0.isEmpty }
        // Captions that roll up repeat the last lines of the cue before.
        let isNext = cues.last.map { start - $0.end < 1 } ?? false
        var repeated = isNext ? Self.repeated(previousLines, lines) : 0
        // What is shown longer than it takes to roll up is said again.
        if repeated == lines.count, end - start > 0.1 { repeated = 0 }
        if !lines.isEmpty { previousLines = lines }
        let text = lines.dropFirst(repeated).joined(separator: " ")
        guard !text.isEmpty else {
            // The line stays on the screen.
            if repeated > 0, let last = cues.indices.last { cues[last].end = max(cues[last].end, end) }
            return
        }
        cues.append(Cue(start: start, end: end, text: text))
    }

    /// How many of the first lines are the last lines of the cue before.
    private static func repeated(_ previous: [String], _ lines: [String]) -> Int {
        (0...min(previous.count, lines.count)).last { previous.suffix($0).elementsEqual(lines.prefix($0)) } ?? 0
    }

    // MARK: Times

    /// Reads "START --> END", which may be followed by settings. nil if it is something else, or ends before it starts.
    static func times(_ line: String) -> (start: Double, end: Double)? {
        let bytes = Array(line.utf8)
        guard let arrow = arrow(in: bytes) else { return nil }
        let rest = String(decoding: bytes[(arrow + 3)...], as: UTF8.self)
        guard let start = seconds(trimmed(String(decoding: bytes[..<arrow], as: UTF8.self))),
            let end = rest.split(whereSeparator: \.isWhitespace).first.flatMap({ seconds(String($0)) }), end >= start
        else { return nil }
        return (start, end)
    }

    /// Reads "01:02:03.456" or "02:03,4" as seconds.
    static func seconds(_ text: String) -> Double? {
        let parts = text.split(separator: ":", omittingEmptySubsequences: false)
        guard (2...3).contains(parts.count) else { return nil }
        let last = parts[parts.count - 1].split(omittingEmptySubsequences: false) { $0 == "." || $0 == "," }
        guard (1...2).contains(last.count), let second = whole(last[0], digits: 1...2), second < 60,
            let minute = whole(parts[parts.count - 2], digits: 1...2), minute < 60,
            let hour = parts.count == 3 ? whole(parts[0], digits: 1...4) : 0
        else { return nil }
        var fraction = 0.0
        if last.count == 2 {
            guard let digits = whole(last[1], digits: 1...9) else { return nil }
            var unit = 1.0
            for _ in last[1].utf8 { unit *= 10 }
            fraction = Double(digits) / unit
        }
        return Double(hour * 3600 + minute * 60 + second) + fraction
    }

    private static func whole(_ text: Substring, digits: ClosedRange<Int>) -> Int? {
        guard digits.contains(text.utf8.count), text.utf8.allSatisfy({ (0x30...0x39).contains($0) }) else { return nil }
        return Int(text)
    }
}
