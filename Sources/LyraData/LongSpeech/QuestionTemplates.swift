import LyraBase

/// Asks questions about passages of one transcript. Every answer stands in the transcript: a sentence that a question
/// quotes occurs once in the recording, and stated times are a cue's, rounded outwards to whole seconds.
struct QuestionTemplates {
    private let transcript: TimedTranscript
    private let words: TranscriptWords
    private let kinds: [QuestionKind]
    private var random: SplitMix64

    /// Words of a cue that is quoted.
    private static let quotable = 4...40
    /// Lengths in seconds that a transcription question asks for.
    private static let spans = 15.0...45.0

    /// - Parameter kinds: not empty
    init(_ transcript: TimedTranscript, kinds: [QuestionKind], seed: UInt64) {
        (self.transcript, self.kinds) = (transcript, kinds)
        words = TranscriptWords(transcript)
        random = SplitMix64(seed: seed)
    }

    /// Questions about a passage, of kinds chosen at random; fewer than `count`, each at most once, if the passage does
    /// not allow more.
    mutating func questions(about passage: Passage, count: Int) -> [Question] {
        var questions: [Question] = []
        while questions.count < count {
            var order = kinds
            random.shuffle(&order)
            var new: Question?
            for kind in order {
                // Several tries, because a random choice may not be allowed, or have been made before.
                for _ in 0..<8 where new == nil {
                    guard let made = question(kind, passage), !questions.contains(made) else { continue }
                    new = made
                }
                if new != nil { break }
            }
            guard let new else { break }
            questions.append(new)
        }
        return questions
    }

    private mutating func question(_ kind: QuestionKind, _ passage: Passage) -> Question? {
        let found: (question: String, answer: String)? =
            switch kind {
            case .transcribe: transcribe(passage)
            case .time: time(passage)
            case .next: neighbour(passage, 1, Self.nextForms)
            case .previous: neighbour(passage, -1, Self.previousForms)
            case .cloze: cloze(passage)
            case .order: order(passage)
            }
        return found.map { Question(question: $0.question, answer: $0.answer, kind: kind.rawValue) }
    }

    // MARK: Choices

    private mutating func one<T>(of choices: [T]) -> T? {
        choices.isEmpty ? nil : choices[Int(random.next(below: UInt64(choices.count)))]
    }

    private mutating func index(in range: Range<Int>) -> Int? {
        range.isEmpty ? nil : range.lowerBound + Int(random.next(below: UInt64(range.count)))
    }

    /// A cue that can be quoted: of some words, which occur once in the recording.
    private mutating func quotableCue(_ passage: Passage) -> Int? {
        guard let index = index(in: passage.cues) else { return nil }
        let text = transcript.cues[index].text
        return Self.quotable.contains(TranscriptWords.normalized(text).count) && words.isUnique(text) ? index : nil
    }

    private mutating func filled(_ forms: [String], _ values: [(String, String)]) -> String {
        values.reduce(one(of: forms) ?? "") { $0.replacing($1.0, with: $1.1) }
    }

    // MARK: Kinds

    private static let transcribeForms = [
        "What was said between {a} and {b}?", "Transcribe the recording from {a} to {b}.",
        "Write down what is said from {a} to {b}.", "Which words are spoken between {a} and {b}?",
    ]

    private mutating func transcribe(_ passage: Passage) -> (String, String)? {
        guard let first = index(in: passage.cues) else { return nil }
        let cues = transcript.cues
        let start = cues[first].start
        let wanted = Self.spans.lowerBound + random.nextUnit() * (Self.spans.upperBound - Self.spans.lowerBound)
        var end = first + 1
        while end < passage.cues.upperBound, cues[end].end - start <= wanted { end += 1 }
        let span = transcript.passage(first..<end)
        // Another voice at the same time would belong to the answer.
        let before = first > 0 ? cues[..<first].suffix(8).map(\.end).max() ?? 0 : 0
        let after = end < cues.count ? cues[end].start : .infinity
        guard before <= start + 0.5, after >= span.end - 0.5 else { return nil }
        return (
            filled(Self.transcribeForms, [("{a}", Clock.before(start)), ("{b}", Clock.after(span.end))]),
            transcript.text(first..<end)
        )
    }

    private static let timeForms = [
        "When is this said: \"{x}\"?", "At what time in the recording does one hear \"{x}\"?",
        "Find the moment at which the speaker says: \"{x}\"", "Where in the recording is \"{x}\" said?",
    ]

    private mutating func time(_ passage: Passage) -> (String, String)? {
        guard let index = quotableCue(passage) else { return nil }
        let cue = transcript.cues[index]
        return (
            filled(Self.timeForms, [("{x}", cue.text)]),
            "From \(Clock.before(cue.start)) to \(Clock.after(cue.end))."
        )
    }

    private static let nextForms = [
        "What is said right after \"{x}\"?", "How does the speaker go on after \"{x}\"?",
        "Which words follow \"{x}\"?",
    ]
    private static let previousForms = [
        "What is said right before \"{x}\"?", "Which words come just before \"{x}\"?",
        "What leads up to the words \"{x}\"?",
    ]

    /// The cue before or after a quoted one, within the passage.
    private mutating func neighbour(_ passage: Passage, _ step: Int, _ forms: [String]) -> (String, String)? {
        guard let index = quotableCue(passage), passage.cues.contains(index + step) else { return nil }
        return (filled(forms, [("{x}", transcript.cues[index].text)]), transcript.cues[index + step].text)
    }

    private static let clozeForms = [
        "Which word is missing? \"{x}\"", "Fill in the missing word: \"{x}\"",
        "The recording says \"{x}\". Which word belongs in the gap?",
    ]
    private static let gap = "____"
    /// Letters of a word that is asked for: shorter ones are mostly articles and prepositions.
    private static let leastLetters = 4

    /// A sentence without one of its words, which nothing else in the recording could fill.
    private mutating func cloze(_ passage: Passage) -> (String, String)? {
        guard let index = index(in: passage.cues) else { return nil }
        let tokens = transcript.cues[index].text.split(separator: " ").map(String.init)
        let normalized = tokens.map(TranscriptWords.normalized)
        let all = normalized.flatMap(\.self)
        guard Self.quotable.contains(all.count) else { return nil }
        let choices = tokens.indices.filter { index in
            guard normalized[index].count == 1, let word = normalized[index].first else { return false }
            return word.count >= Self.leastLetters && word.allSatisfy(\.isLetter)
        }
        guard let chosen = one(of: choices) else { return nil }
        let place = normalized[..<chosen].reduce(0) { $0 + $1.count }
        guard words.occurrences(of: all.indices.map { $0 == place ? nil : all[$0] }) == 1 else { return nil }
        var shown = tokens
        let word = Self.bare(tokens[chosen])
        shown[chosen] = tokens[chosen].replacing(word, with: Self.gap)
        return (filled(Self.clozeForms, [("{x}", shown.joined(separator: " "))]), word)
    }

    /// A word without the punctuation around it.
    private static func bare(_ token: String) -> String {
        let scalars = token.unicodeScalars
        func isLetter(_ scalar: Unicode.Scalar) -> Bool { scalar.properties.isAlphabetic }
        guard let first = scalars.firstIndex(where: isLetter), let last = scalars.lastIndex(where: isLetter) else {
            return token
        }
        return String(String.UnicodeScalarView(scalars[first...last]))
    }

    private static let orderForms = [
        "Which is said first: \"{x}\" or \"{y}\"?",
        "Which of these comes earlier in the recording: \"{x}\" or \"{y}\"?",
    ]

    private mutating func order(_ passage: Passage) -> (String, String)? {
        guard let one = quotableCue(passage), let other = quotableCue(passage), one != other else { return nil }
        let cues = transcript.cues
        // Cues that overlap may not say which is first.
        guard cues[min(one, other)].end <= cues[max(one, other)].start + 0.5 else { return nil }
        return (
            filled(Self.orderForms, [("{x}", cues[one].text), ("{y}", cues[other].text)]),
            cues[min(one, other)].text
        )
    }
}
