/// Normalizes short answers before they are compared.
package struct AnswerNormalizer: Sendable {
    package enum Kind: String, Sendable, CaseIterable {
        /// As VQA's evaluation does (`VQANormalizer`).
        case vqa
        /// As Whisper's evaluation does (`WhisperNormalizer`), without its table of spellings.
        case english
        /// Only drops white space at both ends.
        case none
    }

    package let kind: Kind

    package init(_ kind: Kind) { self.kind = kind }

    package func callAsFunction(_ answer: String) -> String {
        switch kind {
        case .vqa: return VQANormalizer.normalize(answer)
        case .english: return WhisperNormalizer()(answer).split(separator: " ").joined(separator: " ")
        case .none:
            var scalars = answer.unicodeScalars.drop(while: \.isSpace)
            while scalars.last?.isSpace ?? false { scalars.removeLast() }
            return String(scalars)
        }
    }
}

/// Normalizes an answer as the evaluations of VQA and TextVQA do (`EvalAIAnswerProcessor` of MMF, which Lyra's published
/// evaluation uses): lower case, no punctuation, numbers up to ten in digits, no articles, contractions with their
/// apostrophes.
enum VQANormalizer {
    static func normalize(_ answer: String) -> String {
        var text = ScalarText(answer.lowercased())
        text.replace { text, index in text[index] == "," || text[index] == "?" ? (index + 1, []) : nil }
        text.replace { text, index in
            text[index] == "'" && text[index + 1] == "s" ? (index + 2, [" ", "'", "s"]) : nil
        }
        text = stripped(text)
        text.replace { text, index in text[index] == "\n" || text[index] == "\t" ? (index + 1, [" "]) : nil }
        removePunctuation(&text)
        removePeriods(&text)
        return text.words.compactMap { word in
            let word = numbers[word] ?? word
            return articles.contains(word) ? nil : contractions[word] ?? word
        }.joined(separator: " ")
    }

    private static func stripped(_ text: ScalarText) -> ScalarText {
        guard let first = text.scalars.firstIndex(where: { !$0.isSpace }),
            let last = text.scalars.lastIndex(where: { !$0.isSpace })
        else { return ScalarText("") }
        return ScalarText(text, first..<last + 1)
    }

    /// A mark with a space beside it, anywhere in the text, is removed everywhere; any other becomes a space.
    private static func removePunctuation(_ text: inout ScalarText) {
        var besideSpace: Set<Unicode.Scalar> = []
        for (index, scalar) in text.scalars.enumerated() where punctuation.contains(scalar) {
            if text[index - 1] == " " || text[index + 1] == " " { besideSpace.insert(scalar) }
        }
        text.replace { text, index in
            guard let scalar = text[index], punctuation.contains(scalar) else { return nil }
            return (index + 1, besideSpace.contains(scalar) ? [] : [" "])
        }
    }

    /// Removes periods that no digit follows: the first 32 of them, because the original passes a flag of that value
    /// where the count belongs.
    private static func removePeriods(_ text: inout ScalarText) {
        var removed = 0
        text.replace { text, index in
            let isFollowedByDigit = text[index + 1]?.properties.generalCategory == .decimalNumber
            guard text[index] == ".", !isFollowedByDigit, removed < 32 else { return nil }
            removed += 1
            return (index + 1, [])
        }
    }

    /// Without `,` and `?`, which are removed before.
    private static let punctuation: Set<Unicode.Scalar> = [
        ";", "/", "[", "]", "\"", "{", "}", "(", ")", "=", "+", "\\", "_", "-", ">", "<", "@", "`", "!",
    ]
    private static let articles: Set = ["a", "an", "the"]
    private static let numbers = [
        "none": "0", "zero": "0", "one": "1", "two": "2", "three": "3", "four": "4", "five": "5", "six": "6",
        "seven": "7", "eight": "8", "nine": "9", "ten": "10",
    ]

    /// Words that lack one apostrophe of a contraction, with the contraction.
    private static let contractions: [String: String] = {
        // The original has one contraction the wrong way round, and lacks one word.
        var words = ["somebody'd": "somebodyd"]
        for form in contracted.split(separator: " ") {
            for index in form.indices where form[index] == "'" {
                var word = form
                word.remove(at: index)
                words[String(word)] = String(form)
            }
        }
        words["we'dve"] = nil
        return words
    }()

    private static let contracted = """
        ain't aren't can't could've couldn't couldn't've didn't doesn't don't hadn't hadn't've hasn't haven't he'd \
        he'd've he's how'd how'll how's isn't it'd it'd've it'll ma'am mightn't mightn't've might've mustn't must've \
        needn't not've o'clock oughtn't 'ow's'at shan't she'd've should've shouldn't shouldn't've somebody'd've \
        somebody'll somebody's someone'd someone'd've someone'll someone's something'd something'd've something'll \
        that's there'd there'd've there're there's they'd they'd've they'll they're they've 'twas wasn't we'd've \
        we've weren't what'll what're what's what've when's where'd where's where've who'd who'd've who'll who's \
        who've why'll why're why's won't would've wouldn't've y'all y'all'll y'all'd've you'd you'd've you'll you're \
        you've
        """
}
