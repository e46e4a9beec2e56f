import LyraBase

/// The scores of a data set's answers: for each form of the question, overall and for each kind of question, and the
/// difference between typed and spoken questions.
package struct QuestionReport {
    /// Scores of the same set of questions.
    private struct Scores {
        /// Share of exact answers.
        var exact: Estimate?
        /// VQA's accuracy, over the questions with several expected answers.
        var accuracy: Estimate?

        init(_ scores: [QuestionScore], _ bootstrap: Bootstrap) {
            exact = bootstrap.estimate(scores.map { $0.isExact ? 1 : 0 })
            accuracy = bootstrap.estimate(scores.compactMap(\.accuracy))
        }

        /// Differences of pairs.
        init(_ pairs: [(typed: QuestionScore, spoken: QuestionScore)], _ bootstrap: Bootstrap) {
            exact = bootstrap.estimate(pairs.map { ($0.typed.isExact ? 1 : 0) - ($0.spoken.isExact ? 1 : 0) })
            accuracy = bootstrap.estimate(
                pairs.compactMap { pair in
                    guard let typed = pair.typed.accuracy, let spoken = pair.spoken.accuracy else { return nil }
                    return typed - spoken
                })
        }
    }

    private let records: [AnswerRecord]
    private let normalizer: AnswerNormalizer
    private let bootstrap: Bootstrap
    private let forms: [(form: QuestionForm, all: Scores, kinds: [(name: String, scores: Scores)])]
    /// Nil if no item was answered both typed and spoken.
    private let gap: Scores?

    package init(_ records: [AnswerRecord], _ normalizer: AnswerNormalizer, _ bootstrap: Bootstrap) {
        (self.records, self.normalizer, self.bootstrap) = (records, normalizer, bootstrap)
        let scored = records.compactMap { record in record.score(normalizer).map { (record: record, score: $0) } }
        forms = QuestionForm.allCases.compactMap { form in
            let ofForm = scored.filter { $0.record.form == form }
            guard !ofForm.isEmpty else { return nil }
            let kinds = Set(ofForm.compactMap(\.record.kind)).sorted().map { kind in
                (name: kind, scores: Scores(ofForm.filter { $0.record.kind == kind }.map(\.score), bootstrap))
            }
            return (form, Scores(ofForm.map(\.score), bootstrap), kinds)
        }
        let spoken = Dictionary(
            scored.filter { $0.record.form == .spoken }.map { ($0.record.item, $0.score) }
        ) { _, last in last }
        let pairs = scored.filter { $0.record.form == .typed }.compactMap { typed in
            spoken[typed.record.item].map { (typed: typed.score, spoken: $0) }
        }
        gap = pairs.isEmpty ? nil : Scores(pairs, bootstrap)
    }

    package var answered: Int { records.count { $0.answer != nil } }

    /// Number of questions without an answer, for each reason.
    package var failures: [(reason: QuestionFailure.Reason, count: Int)] {
        QuestionFailure.Reason.allCases.compactMap { reason in
            let count = records.count { $0.failure?.reason == reason }
            return count > 0 ? (reason, count) : nil
        }
    }

    // MARK: Text

    package var summary: String {
        var lines: [String] = []
        for (form, all, kinds) in forms {
            lines.append("\(form.rawValue): " + Self.text(all, Self.percentText))
            lines += kinds.map { "\(form.rawValue), \(oneLine($0.name)): " + Self.text($0.scores, Self.percentText) }
        }
        if let gap { lines.append("typed - spoken: " + Self.text(gap, Self.pointsText)) }
        if forms.isEmpty { lines.append("no question was answered, so there is no score") }
        if !failures.isEmpty {
            let reasons = failures.map { "\($0.reason.rawValue) \($0.count)" }
            lines.append("without an answer: " + reasons.joined(separator: ", "))
        }
        return lines.joined(separator: "\n")
    }

    private static func text(_ scores: Scores, _ write: (Double) -> String) -> String {
        func part(_ name: String, _ estimate: Estimate?) -> String? {
            estimate.map { "\(name) \(write($0.mean)) (\(write($0.low)) to \(write($0.high))) of \($0.count)" }
        }
        return [part("exact", scores.exact), part("accuracy", scores.accuracy)].compactMap { $0 }
            .joined(separator: ", ")
    }

    private static func percentText(_ share: Double) -> String { percent(share) }

    /// A difference of shares in percentage points, with its sign.
    private static func pointsText(_ difference: Double) -> String {
        let isNegative = (difference * 1e4).rounded() < 0
        return (isNegative ? "-" : "+") + percent(abs(difference)).replacing(" %", with: " points")
    }

    // MARK: JSON

    package var json: [(String, JSONValue)] {
        let scores = forms.map { form in
            (
                form.form.rawValue,
                JSONValue.object(
                    Self.members(form.all) + [
                        ("kinds", .object(form.kinds.map { ($0.name, .object(Self.members($0.scores))) }))
                    ])
            )
        }
        return [
            ("normalize", .string(normalizer.kind.rawValue)), ("resamples", .number(Double(bootstrap.resamples))),
            ("seed", .string("\(bootstrap.seed)")), ("questions", .number(Double(records.count))),
            ("answered", .number(Double(answered))),
            ("failed", .object(failures.map { ($0.reason.rawValue, .number(Double($0.count))) })),
            ("scores", .object(scores)),
            ("typed_minus_spoken", gap.map { .object(Self.members($0)) } ?? .null),
            ("lines", .array(records.map { $0.json(normalizer) })),
        ]
    }

    private static func members(_ scores: Scores) -> [(String, JSONValue)] {
        func value(_ estimate: Estimate?) -> JSONValue {
            guard let estimate else { return .null }
            return .object([
                ("mean", .number(estimate.mean)), ("low", .number(estimate.low)), ("high", .number(estimate.high)),
                ("count", .number(Double(estimate.count))),
            ])
        }
        return [("exact", value(scores.exact)), ("accuracy", value(scores.accuracy))]
    }
}
