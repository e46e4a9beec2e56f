/// Rewrites numbers in words as digits: "two hundred and five dollars" becomes "$205", "one oh one" "101".
///
/// Equivalent to `EnglishNumberNormalizer` of OpenAI's Whisper, with its oddities ("$1.5" becomes "$one.5"), so that
/// error rates are comparable.
struct NumberReader {
    /// The number read so far.
    private enum Value {
        case integer(DecimalInteger)
        /// Concatenated digits: of a number that is spelled digit by digit, or that has a decimal point.
        case digits(String)

        var text: String {
            switch self {
            case .integer(let value): value.description
            case .digits(let text): text
            }
        }
    }

    private var value: Value?
    private var prefix: String?
    private var result: [String] = []

    private init() {}

    static func rewrite(_ text: ScalarText) -> ScalarText {
        var reader = NumberReader()
        reader.read(prepare(text).words)
        return finish(ScalarText(reader.result.joined(separator: " ")))
    }

    // MARK: Word by word

    private mutating func read(_ words: [String]) {
        var index = 0
        while index < words.count {
            let previous = index > 0 ? words[index - 1] : "", next = index + 1 < words.count ? words[index + 1] : nil
            index += readWord(words[index], after: previous, before: next) ? 2 : 1
        }
        flush()
    }

    /// Reads one word. → whether it also consumed the next word
    private mutating func readWord(_ word: String, after previous: String, before next: String?) -> Bool {
        if readDigits(word) { return false }
        if NumberWords.zeros.contains(word) {
            value = .digits(spelled + "0")
        } else if let ones = NumberWords.ones[word] {
            value = joined(ones, after: previous)
        } else if let (ones, suffix) = NumberWords.suffixedOnes[word] {
            emit(joined(ones, after: previous).text + suffix)
        } else if let tens = NumberWords.tens[word] {
            value = joined(tens, zeros: 2)
        } else if let (tens, suffix) = NumberWords.suffixedTens[word] {
            emit(joined(tens, zeros: 2).text + suffix)
        } else if let power = NumberWords.powers[word] {
            multiply(power)
        } else if let (power, suffix) = NumberWords.suffixedPowers[word] {
            multiply(power, suffix)
        } else if let sign = NumberWords.signs[word] {
            flush()
            if isNumeric(next) { prefix = sign } else { emit(word) }
        } else if let currency = NumberWords.currencies[word] {
            if value != nil { prefix = currency }
            if !flush() { emit(word) }
        } else if word == "per" || word == "percent" {
            return readPercent(word, before: next)
        } else if NumberWords.specials.contains(word) {
            return readSpecial(word, after: previous, before: next)
        } else {
            flush()
            emit(word)
        }
        return false
    }

    /// The digits read so far; empty for zero, which begins a spelled number.
    private var spelled: String {
        if case .integer(let number) = value, number.isZero { "" } else { value?.text ?? "" }
    }

    /// Emits the number read so far, with its prefix, as a word. → whether there was a number
    @discardableResult
    private mutating func flush() -> Bool {
        guard let value else { return false }
        emit(value.text)
        return true
    }

    private mutating func emit(_ text: String) {
        result.append((prefix ?? "") + text)
        (prefix, value) = (nil, nil)
    }

    private static func isArabic(_ word: some StringProtocol) -> Bool {
        let parts = word.split(separator: ".", omittingEmptySubsequences: false)
        return parts.count <= 2 && parts.allSatisfy { DecimalInteger($0) != nil }
    }

    private func isNumeric(_ word: String?) -> Bool {
        word.map { NumberWords.contains($0) || Self.isArabic($0) } ?? false
    }

    /// Reads a number in digits, with an optional sign or currency symbol. → whether `word` is such a number
    private mutating func readDigits(_ word: String) -> Bool {
        let sign = word.first.flatMap { NumberWords.prefixes.contains($0) ? String($0) : nil }
        let number = sign == nil ? Substring(word) : word.dropFirst()
        guard Self.isArabic(number) else { return false }
        if case .digits(let text) = value, text.hasSuffix(".") {
            value = .digits(text + word)
            return true
        }
        flush()
        prefix = sign ?? prefix
        let parts = number.split(separator: ".")
        let isWhole = parts.count == 1 || parts[1].allSatisfy { $0 == "0" }
        value = isWhole ? DecimalInteger(parts[0]).map(Value.integer) : .digits(String(number))
        return true
    }

    /// The number read so far, continued by 1…19: "twenty" + "one" is 21, "nineteen" + "ten" 1910.
    private func joined(_ ones: Int, after previous: String) -> Value {
        guard let value else { return .integer(DecimalInteger(ones)) }
        switch value {
        case .digits(let text) where NumberWords.tens[previous] != nil && ones < 10:
            return .digits(text.dropLast() + String(ones))
        case .integer(let number)
        where NumberWords.ones[previous] == nil && number.ends(inZeros: ones < 10 ? 1 : 2):
            return .integer(number + DecimalInteger(ones))
        default: return .digits(value.text + String(ones))
        }
    }

    /// The number read so far, continued by `number`: the sum if the last `zeros` digits are 0, otherwise `number`'s
    /// digits appended.
    private func joined(_ number: Int, zeros: Int) -> Value {
        switch value {
        case nil: .integer(DecimalInteger(number))
        case .integer(let before) where before.ends(inZeros: zeros): .integer(before + DecimalInteger(number))
        case .some(let before): .digits(before.text + String(number))
        }
    }

    /// Multiplies the part below a thousand by a power of ten: "five thousand two" + "hundred" is 5200.
    private mutating func multiply(_ power: Int, _ suffix: String? = nil) {
        var product = DecimalInteger(1).shifted(by: power)
        switch value {
        case nil: break
        case .digits(let text):
            if let exact = Self.product(text, power) { product = exact } else { flush() }
        case .integer(let number): product = number.thousands + number.belowThousand.shifted(by: power)
        }
        if let suffix { emit(product.description + suffix) } else { value = .integer(product) }
    }

    /// Digits, possibly with a decimal point, times a power of ten; nil unless the product is an integer.
    private static func product(_ text: String, _ power: Int) -> DecimalInteger? {
        let parts = text.split(separator: ".", omittingEmptySubsequences: false)
        let fraction = parts.count == 2 ? parts[1] : ""
        guard parts.count <= 2, !(parts[0].isEmpty && fraction.isEmpty) else { return nil }
        guard fraction.dropFirst(power).allSatisfy({ $0 == "0" }) else { return nil }
        let moved = fraction.prefix(power)
        return DecimalInteger(parts[0] + moved + String(repeating: "0", count: power - moved.count))
    }

    private mutating func readPercent(_ word: String, before next: String?) -> Bool {
        guard let value else {
            emit(word)
            return false
        }
        if word == "percent" || next == "cent" {
            emit(value.text + "%")
            return word == "per"
        }
        flush()
        emit(word)
        return false
    }

    private mutating func readSpecial(_ word: String, after previous: String, before next: String?) -> Bool {
        guard let next, isNumeric(next) else {
            flush()
            emit(word)
            return false
        }
        switch word {
        case "and":
            // "two hundred and five": "and" is dropped after a power of ten.
            if NumberWords.powers[previous] == nil {
                flush()
                emit(word)
            }
        case "point":
            if NumberWords.canFollowPoint(next) || Self.isArabic(next) { value = .digits(spelled + ".") }
        default:
            if NumberWords.ones[next] != nil || NumberWords.zeros.contains(next) {
                let digits = String(NumberWords.ones[next] ?? 0)
                value = .digits(spelled + String(repeating: digits, count: word == "double" ? 2 : 3))
                return true
            }
            flush()
            emit(word)
        }
        return false
    }

    // MARK: Preparing and finishing

    /// Replaces "and a half" after a number with "point five", and separates digits from letters, except suffixes such
    /// as "th".
    private static func prepare(_ text: ScalarText) -> ScalarText {
        var text = halves(text)
        text.replace { text, index in
            guard let next = text[index + 1], let this = text[index] else { return nil }
            return this.isSmallLetter && next.isDigit ? (index + 2, [this, " ", next]) : nil
        }
        text.replace { text, index in
            guard let next = text[index + 1], let this = text[index] else { return nil }
            return this.isDigit && next.isSmallLetter ? (index + 2, [this, " ", next]) : nil
        }
        let suffixes = ["st", "nd", "rd", "th", "s"].map { Array($0.unicodeScalars) }
        text.replace { text, index in
            guard let digit = text[index], digit.isDigit else { return nil }
            let start = text.skipSpace(index + 1)
            guard start > index + 1 else { return nil }
            let suffix = suffixes.first { text.has($0, at: start) && text.isBoundary(start + $0.count) }
            return suffix.map { (start + $0.count, [digit] + $0) }
        }
        return text
    }

    private static func halves(_ text: ScalarText) -> ScalarText {
        var segments: [ScalarText] = [], start = 0, index = 0
        while index < text.scalars.count {
            if let end = endOfHalf(text, index) {
                segments.append(ScalarText(text, start..<index))
                (start, index) = (end, end)
            } else {
                index += 1
            }
        }
        segments.append(ScalarText(text, start..<text.scalars.count))
        var pieces: [String] = []
        for (index, segment) in segments.enumerated() {
            guard let last = segment.words.last else { continue }
            pieces.append(segment.string)
            if index < segments.count - 1 {
                let isNumber = NumberWords.canFollowPoint(last) || NumberWords.powers[last] != nil
                pieces.append(isNumber ? "point five" : "and a half")
            }
        }
        return ScalarText(pieces.joined(separator: " "))
    }

    /// The end of an "and a half" that begins at `index`; nil if there is none.
    private static func endOfHalf(_ text: ScalarText, _ index: Int) -> Int? {
        guard text.isBoundary(index) else { return nil }
        var index = index
        for (number, word) in ["and", "a", "half"].enumerated() {
            if number > 0 {
                let start = text.skipSpace(index)
                guard start > index else { return nil }
                index = start
            }
            let word = Array(word.unicodeScalars)
            guard text.has(word, at: index) else { return nil }
            index += word.count
        }
        return text.isBoundary(index) ? index : nil
    }

    /// Joins cents to their dollars ("$2 and ¢7" becomes "$2.07"), and rewrites a lone 1 as "one".
    private static func finish(_ text: ScalarText) -> ScalarText {
        let currencies: Set<Unicode.Scalar> = ["€", "£", "$"]
        var text = text
        text.replace { text, index in
            guard let sign = text[index], currencies.contains(sign) else { return nil }
            let whole = text.digits(from: index + 1)
            guard !whole.isEmpty, text[whole.upperBound] == " " else { return nil }
            var at = whole.upperBound + 1
            if text.has(Array("and ".unicodeScalars), at: at) { at += 4 }
            guard text[at] == "¢" else { return nil }
            let cents = text.digits(from: at + 1)
            guard (1...2).contains(cents.count), text.isBoundary(cents.upperBound) else { return nil }
            let two = cents.count == 1 ? ["0"] + text.scalars[cents] : Array(text.scalars[cents])
            return (cents.upperBound, [sign] + text.scalars[whole] + ["."] + two)
        }
        text.replace { text, index in
            guard let sign = text[index], currencies.contains(sign), text[index + 1] == "0", text[index + 2] != "\n"
            else {
                return nil
            }
            let cents = text.digits(from: index + 3)
            guard (1...2).contains(cents.count), text.isBoundary(cents.upperBound) else { return nil }
            let number = cents.count == 2 && text[index + 3] == "0" ? cents.dropFirst() : cents
            return (cents.upperBound, ["¢"] + text.scalars[number])
        }
        text.replace { text, index in
            guard text[index] == "1", text.isBoundary(index) else { return nil }
            let one = Array("one".unicodeScalars)
            if text[index + 1] == "s", text.isBoundary(index + 2) { return (index + 2, one + ["s"]) }
            return text.isBoundary(index + 1) ? (index + 1, one) : nil
        }
        return text
    }
}

extension ScalarText {
    /// The range of the digits that begin at `start`.
    fileprivate func digits(from start: Int) -> Range<Int> {
        guard start < scalars.count else { return start..<start }
        return start..<(scalars[start...].firstIndex { !$0.isDigit } ?? scalars.count)
    }
}
