import LyraBase
import Testing

@testable import LyraData

/// A talk of 40 sentences, 6 s each with a pause of 1 s: sentence n begins at 7n. Two sentences are said twice.
private let talk: TimedTranscript = {
    let subjects = ["sailors", "bakers", "painters", "gardeners", "teachers", "drivers", "singers", "lawyers"]
    let things = ["harbours", "ovens", "canvases", "roses", "pencils"]
    var sentences: [String] = []
    for thing in things {
        for subject in subjects { sentences.append("The old \(subject) in town never forget their \(thing).") }
    }
    (sentences[3], sentences[33]) = ("Thank you all very much.", "Thank you all very much!")
    return TimedTranscript(
        cues: sentences.enumerated().map { index, text in
            Cue(start: Double(index * 7), end: Double(index * 7 + 6), text: text)
        })
}()

private func seconds(_ clock: Substring) -> Double {
    clock.split(separator: ":").reduce(0.0) { $0 * 60 + (Double($1) ?? .nan) }
}

/// The text between quotation marks.
private func quoted(_ text: String) -> [String] {
    text.split(separator: "\"", omittingEmptySubsequences: false).enumerated().filter { $0.offset % 2 == 1 }
        .map { String($0.element) }
}

@Suite struct QuestionTests {
    private func questions(_ kind: QuestionKind, count: Int = 12, seed: UInt64 = 1) -> [Question] {
        var templates = QuestionTemplates(talk, kinds: [kind], seed: seed)
        return templates.questions(about: talk.passage(0..<40), count: count)
    }

    private func place(of text: String) -> Int? { talk.cues.firstIndex { $0.text == text } }

    @Test func passagesEndWithSentencesAndCoverAll() {
        let passages = talk.passages(of: 60)
        #expect(passages.first?.cues.lowerBound == 0 && passages.last?.cues.upperBound == 40)
        #expect(zip(passages, passages.dropFirst()).allSatisfy { $0.cues.upperBound == $1.cues.lowerBound })
        // 9 cues end at 62 s, the first end after 60.
        #expect(passages.map(\.cues.count) == [9, 9, 9, 13])
        // Without a full stop, at 90 s in any case: 13 cues end at 90.
        let endless = TimedTranscript(cues: talk.cues.map { Cue(start: $0.start, end: $0.end, text: "word") })
        #expect(endless.passages(of: 60).map(\.cues.count) == [13, 13, 14])
        #expect(talk.passages(of: 1e6).map(\.cues) == [0..<40])
    }

    @Test func transcriptionsAreTheWordsBetweenTheTimes() throws {
        for question in questions(.transcribe) {
            let times = question.question.split { !($0.isNumber || $0 == ":") }.filter { $0.contains(":") }.map(seconds)
            try #require(times.count == 2)
            let inside = talk.cues.filter { $0.start >= times[0] && $0.end <= times[1] }
            #expect(question.answer == inside.map(\.text).joined(separator: " ") && !inside.isEmpty)
            #expect(times[1] - times[0] <= 45 && question.kind == "transcribe")
        }
    }

    @Test func timesAreThoseOfTheSentence() throws {
        for question in questions(.time) {
            let index = try #require(place(of: quoted(question.question)[0]))
            #expect(question.answer == "From \(Clock.text(index * 7)) to \(Clock.text(index * 7 + 6)).")
        }
        #expect(Clock.text(3661) == "1:01:01" && Clock.after(59.2) == "01:00" && Clock.before(59.9) == "00:59")
    }

    @Test func neighboursAreNextToTheSentence() throws {
        for (kind, step) in [(QuestionKind.next, 1), (.previous, -1)] {
            for question in questions(kind) {
                let index = try #require(place(of: quoted(question.question)[0]))
                #expect(question.answer == talk.cues[index + step].text)
            }
        }
    }

    @Test func onlyOneWordFillsTheGap() throws {
        let made = questions(.cloze)
        #expect(made.count == 12)
        for question in made {
            let sentence = quoted(question.question)[0]
            let parts = sentence.split(separator: "____", omittingEmptySubsequences: false)
            try #require(parts.count == 2)
            let fitting = talk.cues.filter { $0.text.hasPrefix(parts[0]) && $0.text.hasSuffix(parts[1]) }
            #expect(fitting.map(\.text) == [parts[0] + question.answer + parts[1]])
        }
    }

    @Test func theFirstOfTwoIsFirst() throws {
        for question in questions(.order) {
            let both = quoted(question.question).compactMap { place(of: $0) }
            try #require(both.count == 2)
            #expect(question.answer == talk.cues[min(both[0], both[1])].text)
        }
    }

    /// What is said twice is not quoted: an answer about it would be ambiguous.
    @Test func whatIsSaidTwiceIsNotQuoted() {
        for kind in [QuestionKind.time, .next, .previous, .order, .cloze] {
            for question in questions(kind, count: 30) {
                #expect(!quoted(question.question).contains { $0.hasPrefix("Thank you all") })
            }
        }
        let words = TranscriptWords(talk)
        #expect(words.occurrences(of: ["thank", "you", "all"]) == 2)
        #expect(words.occurrences(of: ["the", "old", nil, "in"]) == 38)
        #expect(words.occurrences(of: ["nowhere"]) == 0 && words.occurrences(of: [nil]) == 0)
    }

    @Test func questionsFollowFromTheSeedAndDiffer() {
        var one = QuestionTemplates(talk, kinds: QuestionKind.allCases, seed: 3)
        var two = QuestionTemplates(talk, kinds: QuestionKind.allCases, seed: 3)
        let first = one.questions(about: talk.passage(5..<20), count: 20)
        #expect(first == two.questions(about: talk.passage(5..<20), count: 20) && first.count == 20)
        #expect(Set(first.map { $0.question + $0.answer }).count == 20 && Set(first.map(\.kind)).count >= 4)
        #expect(questions(.time, seed: 1) != questions(.time, seed: 2))
    }

    @Test func aPassageThatAllowsNoQuestionHasNone() {
        let short = TimedTranscript(cues: [Cue(start: 0, end: 1, text: "Yes."), Cue(start: 1, end: 2, text: "No.")])
        for kind in QuestionKind.allCases where kind != .transcribe {
            var templates = QuestionTemplates(short, kinds: [kind], seed: 1)
            #expect(templates.questions(about: short.passage(0..<2), count: 3).isEmpty)
        }
    }

    @Test func aModelsAnswerIsFoundAmongOtherText() throws {
        let one = Question(question: "Who?", answer: "He [1].", kind: "open")
        for content in [
            #"[{"question": " Who? ", "answer": "He [1]."}]"#, #"{"question": "Who?", "answer": "He [1]."}"#,
            "Sure!\n```json\n[{\"question\": \"Who?\", \"answer\": \"He [1].\"}]\n```\nBye.",
            #"{"questions": [{"question": "Who?", "answer": "He [1]."}, {"question": "", "answer": "x"}, 3]}"#,
        ] {
            #expect(try ServerQuestions.questions(in: content, count: 2).get() == [one])
        }
        for content in ["", "no", "[]", "{", "[1, 2]", #"[{"question": "Who?"}]"#, "]["] {
            #expect(throws: ServerQuestions.Unusable.self) {
                try ServerQuestions.questions(in: content, count: 2).get()
            }
        }
    }
}
