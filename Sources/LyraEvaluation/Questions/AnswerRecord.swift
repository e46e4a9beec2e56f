import LyraBase

/// A question that was asked, with what came of it: one line of a file of answers.
package struct AnswerRecord: Sendable {
    package enum Outcome: Sendable {
        case answered(String)
        case failed(QuestionFailure)
    }

    /// The number of the item in its data set, counted from 1.
    package var item: Int
    package var id: String
    package var kind: String?
    package var form: QuestionForm
    /// The question, for people.
    package var prompt: String
    package var expected: [String]
    package var outcome: Outcome
    /// Number of tokens of the prompt, and of media among them; nil if unknown.
    package var promptTokens: Int?
    package var mediaTokens: Int?

    package init(
        item: Int, id: String, kind: String?, form: QuestionForm, prompt: String, expected: [String], outcome: Outcome,
        promptTokens: Int? = nil, mediaTokens: Int? = nil
    ) {
        (self.item, self.id, self.kind, self.form) = (item, id, kind, form)
        (self.prompt, self.expected, self.outcome) = (prompt, expected, outcome)
        (self.promptTokens, self.mediaTokens) = (promptTokens, mediaTokens)
    }

    package var answer: String? { if case .answered(let answer) = outcome { answer } else { nil } }
    package var failure: QuestionFailure? { if case .failed(let failure) = outcome { failure } else { nil } }

    /// Nil without an answer.
    package func score(_ normalizer: AnswerNormalizer) -> QuestionScore? {
        answer.map { QuestionScore($0, expected: expected, normalizer) }
    }

    package static let header = ["exact", "accuracy", "question", "kind", "item", "expected", "answer"]
        .joined(separator: "\t")

    /// One line of the table, separated by tabs.
    package func line(_ normalizer: AnswerNormalizer) -> String {
        let score = score(normalizer)
        return [
            score.map { $0.isExact ? "1" : "0" } ?? "-", percent(score?.accuracy), form.rawValue, oneLine(kind ?? "-"),
            oneLine(id), oneLine(expected.first ?? "-"), oneLine(answer ?? failure?.message ?? "-"),
        ].joined(separator: "\t")
    }

    package func json(_ normalizer: AnswerNormalizer) -> JSONValue {
        var members: [(String, JSONValue)] = [
            ("item", .number(Double(item))), ("id", .string(id)), ("kind", kind.map(JSONValue.string) ?? .null),
            ("question", .string(form.rawValue)), ("prompt", .string(prompt)),
            ("expected", .array(expected.map(JSONValue.string))),
        ]
        switch outcome {
        case .answered(let answer):
            let score = QuestionScore(answer, expected: expected, normalizer)
            members += [
                ("answer", .string(answer)), ("normalized_answer", .string(normalizer(answer))),
                ("exact", .number(score.isExact ? 1 : 0)), ("accuracy", score.accuracy.map(JSONValue.number) ?? .null),
            ]
            if let promptTokens { members.append(("prompt_tokens", .number(Double(promptTokens)))) }
            if let mediaTokens { members.append(("media_tokens", .number(Double(mediaTokens)))) }
        case .failed(let failure):
            members += [("reason", .string(failure.reason.rawValue)), ("error", .string(failure.message))]
        }
        return .object(members)
    }
}

/// Reads files of answers: a line about the run, then a line for each question.
package enum AnswerFile {
    /// - Returns: the object about the run, if the file has one, and the last record of each question, in the order of
    ///   the items
    /// - Throws: `LyraError` that names the file and the line.
    package static func read(_ path: String) throws -> (run: JSONValue?, records: [AnswerRecord]) {
        var run: JSONValue?
        var records: [Key: AnswerRecord] = [:]
        try explainingUnfinishedLine(path) { text, place in
            let line = try TextLines.decode(Line.self, text, place)
            if line.run != nil {
                var text = text
                run = try text.withUTF8 { try JSONValue(UnsafeRawBufferPointer($0), source: place) }["run"]
            } else {
                let record = try line.record(place)
                records[Key(item: record.item, form: record.form.rawValue)] = record
            }
        }
        let order = Dictionary(uniqueKeysWithValues: QuestionForm.allCases.enumerated().map { ($1, $0) })
        let ordered = records.values.sorted {
            ($0.item, order[$0.form] ?? 0) < ($1.item, order[$1.form] ?? 0)
        }
        return (run, ordered)
    }

    /// Reads the lines. An error about a last line without a line break is one about a file that is being written.
    private static func explainingUnfinishedLine(
        _ path: String, _ body: (_ line: String, _ place: String) throws -> Void
    ) throws {
        do { try TextLines.read(path, body) } catch let error as LyraError where error.code == .format {
            guard let place = try TextLines.unfinishedLine(path), error.message.hasPrefix(place) else { throw error }
            throw LyraError(
                .format,
                "\(place): the last line is not complete: 'lyra eval qa' is still writing the file, or was killed; wait "
                    + "for its end, continue it with --resume, or remove the line")
        }
    }

    private struct Key: Hashable {
        var item: Int
        var form: String
    }

    private struct Anything: Decodable {
        init(from decoder: any Decoder) {}
    }

    private struct Line: Decodable {
        var run: Anything?
        var item: Int?
        var id: String?
        var kind: String?
        var question: String?
        var prompt: String?
        var expected: [String]?
        var answer: String?
        var reason: String?
        var error: String?
        var prompt_tokens: Int?
        var media_tokens: Int?

        func record(_ place: String) throws -> AnswerRecord {
            guard let item, item > 0, let expected, let form = QuestionForm(rawValue: question ?? "given") else {
                throw LyraError(
                    .format,
                    "\(place): \"item\" (a number from 1 up), \"expected\" (a list of answers) and \"question\" (given, "
                        + "typed or spoken) are needed, as 'lyra eval qa --out' writes them")
            }
            let outcome: AnswerRecord.Outcome
            if let answer {
                outcome = .answered(answer)
            } else if let reason = QuestionFailure.Reason(rawValue: reason ?? "") {
                outcome = .failed(QuestionFailure(reason, error ?? ""))
            } else {
                throw LyraError(.format, "\(place): \"answer\" is needed, or \"reason\" and \"error\"")
            }
            return AnswerRecord(
                item: item, id: id ?? "\(item)", kind: kind, form: form, prompt: prompt ?? "", expected: expected,
                outcome: outcome, promptTokens: prompt_tokens, mediaTokens: media_tokens)
        }
    }
}
