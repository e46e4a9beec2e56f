/// The words of a transcript as numbers, equal for words that differ only in case and punctuation, to find out whether
/// a passage occurs once.
struct TranscriptWords {
    private var numbers: [String: Int32] = [:]
    /// The words of all cues.
    private(set) var words: [Int32] = []
    /// Where each word occurs in `words`.
    private var places: [Int32: [Int]] = [:]

    init(_ transcript: TimedTranscript) {
        for cue in transcript.cues {
            for word in Self.normalized(cue.text) {
                let number = numbers[word] ?? Int32(truncatingIfNeeded: numbers.count)
                numbers[word] = number
                places[number, default: []].append(words.count)
                words.append(number)
            }
        }
    }

    /// The words in lower case: letters and digits. An apostrophe does not end a word.
    static func normalized(_ text: String) -> [String] {
        text.lowercased().unicodeScalars.split { !isPart($0) && !isApostrophe($0) }
            .map { String(String.UnicodeScalarView($0.filter { !isApostrophe($0) })) }
            .filter { !$0.isEmpty }
    }

    private static func isPart(_ scalar: Unicode.Scalar) -> Bool {
        scalar.properties.isAlphabetic || scalar.properties.numericType != nil
    }

    private static func isApostrophe(_ scalar: Unicode.Scalar) -> Bool { scalar == "'" || scalar == "’" }

    /// How often words follow one another in the transcript.
    ///
    /// - Parameter pattern: normalized words; nil stands for any word
    func occurrences(of pattern: [String?]) -> Int {
        var wanted: [Int32?] = []
        for word in pattern {
            guard let word else {
                wanted.append(nil)
                continue
            }
            guard let number = numbers[word] else { return 0 }
            wanted.append(number)
        }
        // The rarest word leaves the fewest places to look at.
        let known = wanted.enumerated().compactMap { place in place.element.map { (place.offset, places[$0] ?? []) } }
        guard let (offset, candidates) = known.min(by: { $0.1.count < $1.1.count }) else { return 0 }
        return candidates.count { place in
            let start = place - offset
            guard start >= 0, start + wanted.count <= words.count else { return false }
            return wanted.indices.allSatisfy { wanted[$0] == nil || wanted[$0] == words[start + $0] }
        }
    }

    func isUnique(_ text: String) -> Bool { occurrences(of: Self.normalized(text)) == 1 }
}
