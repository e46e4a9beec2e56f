/// The English words that make up numbers, as Whisper's normalizer knows them.
enum NumberWords {
    static let zeros: Set = ["o", "oh", "zero"]

    private static let onesInOrder = [
        "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve", "thirteen",
        "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
    ]
    private static let tensInOrder = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
    private static let powersInOrder = [
        ("hundred", 2), ("thousand", 3), ("million", 6), ("billion", 9), ("trillion", 12), ("quadrillion", 15),
        ("quintillion", 18), ("sextillion", 21), ("septillion", 24), ("octillion", 27), ("nonillion", 30),
        ("decillion", 33),
    ]

    /// 1…19
    static let ones = Dictionary(uniqueKeysWithValues: zip(onesInOrder, 1...))
    /// 20, 30, … 90
    static let tens = Dictionary(uniqueKeysWithValues: zip(tensInOrder, stride(from: 20, through: 90, by: 10)))
    /// The power of 10 that a word multiplies by.
    static let powers = Dictionary(uniqueKeysWithValues: powersInOrder)

    /// A number with the letters that follow its digits: "first" is (1, "st"), "twenties" (20, "s").
    typealias Suffixed = [String: (value: Int, suffix: String)]

    static let suffixedOnes: Suffixed = {
        let irregular = [
            1: ("first", "st"), 2: ("second", "nd"), 3: ("third", "rd"), 5: ("fifth", "th"), 12: ("twelfth", "th"),
        ]
        var words: Suffixed = ["zeroth": (0, "th")]
        for (name, value) in ones {
            words[name == "six" ? "sixes" : name + "s"] = (value, "s")
            let (ordinal, suffix) = irregular[value] ?? (name + (name.hasSuffix("t") ? "h" : "th"), "th")
            words[ordinal] = (value, suffix)
        }
        return words
    }()

    static let suffixedTens: Suffixed = {
        var words: Suffixed = [:]
        for (name, value) in tens {
            words[name.dropLast() + "ies"] = (value, "s")
            words[name.dropLast() + "ieth"] = (value, "th")
        }
        return words
    }()

    /// Like `suffixedOnes`, with the power of 10 in place of the value.
    static let suffixedPowers: Suffixed = {
        var words: Suffixed = [:]
        for (name, power) in powers {
            words[name + "s"] = (power, "s")
            words[name + "th"] = (power, "th")
        }
        return words
    }()

    /// Whether a word may follow "point".
    static func canFollowPoint(_ word: String) -> Bool {
        ones[word] != nil || tens[word] != nil || zeros.contains(word)
    }

    static let signs = ["minus": "-", "negative": "-", "plus": "+", "positive": "+"]
    static let currencies = [
        "pound": "£", "pounds": "£", "euro": "€", "euros": "€", "dollar": "$", "dollars": "$", "cent": "¢",
        "cents": "¢",
    ]
    static let prefixes: Set<Character> = ["-", "+", "£", "€", "$", "¢"]
    static let specials: Set = ["and", "double", "triple", "point"]

    /// Whether a word can be a part of a number.
    static func contains(_ word: String) -> Bool {
        canFollowPoint(word) || powers[word] != nil || suffixedOnes[word] != nil || suffixedTens[word] != nil
            || suffixedPowers[word] != nil || signs[word] != nil || currencies[word] != nil || word == "per"
            || word == "percent" || specials.contains(word)
    }
}
