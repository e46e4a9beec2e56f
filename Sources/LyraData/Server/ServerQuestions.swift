import LyraBase

/// Questions about passages, and their answers, that a language model on a server writes.
package struct ServerQuestions {
    private let server: ChatServer
    private let count: Int
    private let cache: AnswerCache

    /// The kind of all questions from a server.
    static let kind = "open"
    /// The longest question or answer that is taken, in bytes.
    private static let textLimit = 20_000

    /// - Parameters:
    ///   - count: questions about each passage
    ///   - cache: a file that keeps answers; it is created if there is none
    /// - Throws: errors of reading or creating the cache.
    package init(_ server: ChatServer, count: Int, cache: String) throws {
        (self.server, self.count) = (server, count)
        self.cache = try AnswerCache(path: cache)
    }

    private static let system = """
        You write training data for a model that listens to long recordings. You get a part of a transcript. You \
        write questions that a listener could answer from this part alone, with short, complete, correct answers. The \
        listener hears the recording and does not see the transcript: do not mention it. Reply with JSON only: a list \
        of objects with the keys "question" and "answer".
        """

    private func prompt(_ text: String, _ passage: Passage) -> ChatServer.Prompt {
        ChatServer.Prompt(
            system: Self.system,
            user: """
                The part from \(Clock.before(passage.start)) to \(Clock.after(passage.end)) of a recording:

                \(text)

                Write \(count) \(count == 1 ? "question" : "different questions") about it.
                """)
    }

    /// Questions about all passages of a plan, in its order. Answers that are in the cache are not asked for again.
    ///
    /// - Parameters:
    ///   - bad: counts and limits the passages that get no answer
    ///   - progress: receives how many passages have an answer; throws to stop
    /// - Throws: the errors of `RequestQueue.run`, of the cache and of `progress`.
    package func questions(
        _ plan: LongSpeechPlan, bad: inout BadExamples, progress: (_ done: Int) throws -> Void
    ) throws -> [[Question]] {
        let prompts = plan.entries.map { prompt(plan.text($0), $0.passage) }
        let names = prompts.map { AnswerCache.name(model: server.model, $0) }
        // Equal passages are asked about once.
        var seen: Set<String> = []
        let open = names.indices.filter { cache[names[$0]] == nil && seen.insert(names[$0]).inserted }
        var done = names.count - open.count
        var queue = RequestQueue(server, open.map { prompts[$0] })
        try queue.run(
            check: { try progress(done) },
            accept: { request, content in
                switch Self.questions(in: content, count: count) {
                case .failure(let problem): return problem.reason
                case .success(let questions):
                    try cache.add(names[open[request]], questions)
                    done += 1
                    return nil
                }
            },
            fail: { request, reason in
                try bad.add("\(plan.entries[open[request]].id): \(reason)")
                done += 1
            })
        return names.map { cache[$0] ?? [] }
    }

    struct Unusable: Error { let reason: String }

    /// The questions that a model wrote, also if it put the JSON among other text.
    static func questions(in content: String, count: Int) -> Result<[Question], Unusable> {
        guard let value = json(in: content) else { return .failure(Unusable(reason: "the answer is not JSON")) }
        let list = value.elements ?? value["questions"]?.elements ?? [value]
        let questions = list.compactMap { item -> Question? in
            guard let question = item["question"]?.string.map({ trimmed($0) }), !question.isEmpty,
                let answer = item["answer"]?.string.map({ trimmed($0) }), !answer.isEmpty,
                question.utf8.count <= textLimit, answer.utf8.count <= textLimit
            else { return nil }
            return Question(question: question, answer: answer, kind: kind)
        }
        guard !questions.isEmpty else {
            return .failure(Unusable(reason: "the answer has no texts \"question\" and \"answer\""))
        }
        return .success(Array(questions.prefix(count)))
    }

    /// The list or object that begins with the first bracket and ends with the last.
    private static func json(in content: String) -> JSONValue? {
        let bytes = Array(content.utf8)
        let brackets = [(UInt8(ascii: "["), UInt8(ascii: "]")), (UInt8(ascii: "{"), UInt8(ascii: "}"))]
        let pairs = brackets.compactMap { open, close -> ClosedRange<Int>? in
            guard let start = bytes.firstIndex(of: open), let end = bytes.lastIndex(of: close), start < end else {
                return nil
            }
            return start...end
        }
        for range in pairs.sorted(by: { $0.lowerBound < $1.lowerBound }) {
            let value = bytes[range].withUnsafeBytes { try? JSONValue($0, source: "the answer") }
            if let value { return value }
        }
        return nil
    }
}
