import LyraBase

/// A reference text, its transcription, and the word errors between them.
package struct Transcript {
    package var name: String
    package var text: String
    package var transcription: String
    /// The normalized words of `text` and of `transcription`.
    let reference: [String]
    let hypothesis: [String]
    package let errors: WordErrors

    package init(name: String, text: String, transcription: String, _ normalizer: TextNormalizer) {
        (self.name, self.text, self.transcription) = (name, text, transcription)
        reference = normalizer.words(text)
        hypothesis = normalizer.words(transcription)
        errors = WordErrors(reference: reference, hypothesis: hypothesis)
    }

    /// One line of the report, separated by tabs: error rate, N, S, D, I, name, transcription.
    package var line: String {
        [
            percent(errors.rate), "\(errors.words)", "\(errors.substitutions)", "\(errors.deletions)",
            "\(errors.insertions)", oneLine(SystemPath.printable(name)), oneLine(transcription),
        ].joined(separator: "\t")
    }

    package static let header = ["WER", "N", "S", "D", "I", "recording", "heard"].joined(separator: "\t")

    package var json: JSONValue {
        .object(
            [("audio", .name(name)), ("text", .string(text)), ("hypothesis", .string(transcription))] + errors.json + [
                ("normalized_text", .string(reference.joined(separator: " "))),
                ("normalized_hypothesis", .string(hypothesis.joined(separator: " "))),
            ])
    }
}

/// Totals over the transcripts of a manifest.
package struct TranscriptTotals {
    private(set) var errors = WordErrors()
    private(set) var count = 0
    private var reference: [String] = []
    private var hypothesis: [String] = []

    package init() {}

    package mutating func add(_ transcript: Transcript) {
        errors += transcript.errors
        count += 1
        reference += transcript.reference
        hypothesis += transcript.hypothesis
    }

    /// The rate of the published evaluation, which joins all references into one text and all hypotheses into another.
    /// A word that one recording lacks can then match a surplus word of its neighbor, so this rate never exceeds
    /// `errors.rate`.
    var contiguousRate: Double? {
        errors.words > 0 ? Double(WordErrors.distance(reference, hypothesis)) / Double(errors.words) : nil
    }

    package var summary: String {
        let e = errors
        return """
            WER \(percent(e.rate)) = (\(e.substitutions) S + \(e.deletions) D + \(e.insertions) I) / \(e.words) words, \
            \(count) \(count == 1 ? "recording" : "recordings")
            WER \(percent(contiguousRate)) as one text, which is how the published figures are counted
            """
    }

    /// Why there is no error rate; nil if there is one.
    package var note: String? {
        count > 0 && errors.words == 0 ? "the normalized texts have no words, so there is no error rate" : nil
    }

    package var json: [(String, JSONValue)] {
        errors.json + [("wer_contiguous", contiguousRate.map(JSONValue.number) ?? .null)]
    }
}

extension WordErrors {
    package var json: [(String, JSONValue)] {
        [
            ("wer", rate.map(JSONValue.number) ?? .null), ("words", .number(Double(words))),
            ("substitutions", .number(Double(substitutions))), ("deletions", .number(Double(deletions))),
            ("insertions", .number(Double(insertions))),
        ]
    }
}

/// Shown with every score, because a checkpoint does not state whether it was trained.
package let scoreNote = "the scores are of this checkpoint; with random weights they are random and mean nothing"

/// A number without superfluous digits: 60, 0.25.
func plain(_ value: Double) -> String {
    value == value.rounded() && abs(value) < 1e9 ? "\(Int(value))" : "\(value)"
}

/// A share as a percentage with two decimals; "-" for nil.
package func percent(_ share: Double?) -> String {
    guard let share else { return "-" }
    let hundredths = Int((share * 1e4).rounded())
    return "\(hundredths / 100).\(hundredths % 100 < 10 ? "0" : "")\(hundredths % 100) %"
}

/// A text on one line: control characters, line breaks and tabs become spaces.
package func oneLine(_ text: String) -> String {
    String(
        String.UnicodeScalarView(
            text.unicodeScalars.map { $0.properties.generalCategory == .control || $0 == "\u{2028}" ? " " : $0 }))
}
