import LyraBase

/// A text, what was heard in its place, and how far apart they are.
package struct Transcript {
    package var name: String
    package var text: String
    package var heard: String
    let reference: [String]
    let hypothesis: [String]
    package let errors: WordErrors

    package init(name: String, text: String, heard: String, _ normalizer: TextNormalizer) {
        (self.name, self.text, self.heard) = (name, text, heard)
        reference = normalizer.words(text)
        hypothesis = normalizer.words(heard)
        errors = WordErrors(reference: reference, hypothesis: hypothesis)
    }

    /// One line of the report, with tabs: the error rate, N, S, D, I, the name and what was heard.
    package var line: String {
        [
            percent(errors.rate), "\(errors.words)", "\(errors.substitutions)", "\(errors.deletions)",
            "\(errors.insertions)", oneLine(SystemPath.printable(name)), oneLine(heard),
        ].joined(separator: "\t")
    }

    package static let header = ["WER", "N", "S", "D", "I", "recording", "heard"].joined(separator: "\t")

    package var json: JSONValue {
        .object(
            [("audio", .name(name)), ("text", .string(text)), ("hypothesis", .string(heard))] + errors.json + [
                ("normalized_text", .string(reference.joined(separator: " "))),
                ("normalized_hypothesis", .string(hypothesis.joined(separator: " "))),
            ])
    }
}

/// All of a manifest.
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

    /// The rate of the published evaluation, which joins all references into one text and all hypotheses into another. A
    /// word that one recording lacks can then match a surplus word of its neighbour, so this rate never exceeds the
    /// other.
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

    /// Why there is no rate, if there is none.
    package var note: String? {
        count > 0 && errors.words == 0 ? "the texts have no words, as they are compared, so there is no rate" : nil
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

/// Said with every score, because no checkpoint says whether it was trained.
package let scoreNote = "scores are of this checkpoint: one of random weights scores at random, and that means nothing"

/// A number without more digits than it needs: 60, 0.25.
func plain(_ value: Double) -> String {
    value == value.rounded() && abs(value) < 1e9 ? "\(Int(value))" : "\(value)"
}

/// A share as a percentage of two decimals; "-" for none.
package func percent(_ share: Double?) -> String {
    guard let share else { return "-" }
    let hundredths = Int((share * 1e4).rounded())
    return "\(hundredths / 100).\(hundredths % 100 < 10 ? "0" : "")\(hundredths % 100) %"
}

/// A text that stays on its line: what controls a terminal, line breaks and tabs become spaces.
package func oneLine(_ text: String) -> String {
    String(
        String.UnicodeScalarView(
            text.unicodeScalars.map { $0.properties.generalCategory == .control || $0 == "\u{2028}" ? " " : $0 }))
}
