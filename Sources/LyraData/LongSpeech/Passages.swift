/// A stretch of a recording that a question is about.
package struct Passage: Sendable, Equatable {
    /// Indices of the transcript's cues.
    package var cues: Range<Int>
    /// In seconds.
    package var start: Double
    package var end: Double
}

extension TimedTranscript {
    /// Cuts the transcript in time.
    ///
    /// A passage ends with the first cue that ends a sentence once the passage has the given length, but at half as
    /// much again in any case. What is left at the end and shorter than half joins the passage before it.
    ///
    /// - Parameter seconds: length of a passage
    package func passages(of seconds: Double) -> [Passage] {
        var passages: [Passage] = []
        var first = 0
        for index in cues.indices {
            let length = cues[index].end - cues[first].start
            guard length >= seconds && cues[index].text.endsSentence || length >= 1.5 * seconds else { continue }
            passages.append(passage(first..<index + 1))
            first = index + 1
        }
        guard first < cues.count else { return passages }
        if let last = passages.last, cues[cues.count - 1].end - cues[first].start < seconds / 2 {
            passages[passages.count - 1] = passage(last.cues.lowerBound..<cues.count)
        } else {
            passages.append(passage(first..<cues.count))
        }
        return passages
    }

    func passage(_ range: Range<Int>) -> Passage {
        let part = cues[range]
        return Passage(
            cues: range, start: part.first?.start ?? 0, end: part.reduce(part.first?.start ?? 0) { max($0, $1.end) })
    }

    /// The text of consecutive cues, flattened.
    package func text(_ range: Range<Int>) -> String { cues[range].map(\.text).joined(separator: " ") }
}

extension String {
    /// Whether the text ends with a mark that ends a sentence, before closing quotation marks and brackets.
    var endsSentence: Bool {
        let last = unicodeScalars.last { !["\"", "'", "”", "’", "»", ")", "]", " "].contains($0) }
        return last.map { [".", "?", "!", "…", "。", "？", "！", "।", "؟"].contains($0) } ?? false
    }
}
