import Foundation

/// A slow tokenizer that follows the definition and shares no code with the fast one: a backtracking matcher over
/// predicates, and a loop that merges the pair of lowest rank.
struct ReferenceTokenizer {
    private struct Pair: Hashable {
        let left: [UInt8]
        let right: [UInt8]
    }

    private var ids: [[UInt8]: Int32] = [:]
    private var ranks: [Pair: Int] = [:]
    private let specials: [(text: [Unicode.Scalar], id: Int32)]
    private let letters: [[UInt8]]

    init(_ vocabulary: Qwen2Vocabulary) {
        for (id, token) in vocabulary.tokens.enumerated() { ids[token] = Int32(id) }
        for (rank, merge) in vocabulary.merges.enumerated() { ranks[Pair(left: merge.left, right: merge.right)] = rank }
        specials = vocabulary.added.map {
            (Array(String(decoding: $0.content, as: UTF8.self).unicodeScalars), Int32($0.id))
        }
        let printable = Array(0x21...0x7E) + Array(0xA1...0xAC) + Array(0xAE...0xFF)
        let others = (0..<256).filter { !printable.contains($0) }
        letters = (0..<256).map { byte in
            let value = printable.contains(byte) ? byte : 0x100 + others.firstIndex(of: byte)!
            return Array(Character(Unicode.Scalar(value)!).utf8)
        }
    }

    func encode(_ text: String) -> [Int32] {
        let text = Array(text.unicodeScalars)
        var output: [Int32] = []
        var plain: [Unicode.Scalar] = []
        var position = 0
        while position < text.count {
            if let special = specials.first(where: { text[position...].starts(with: $0.text) }) {
                output += encodePlain(plain) + [special.id]
                plain = []
                position += special.text.count
            } else {
                plain.append(text[position])
                position += 1
            }
        }
        return output + encodePlain(plain)
    }

    private func encodePlain(_ scalars: [Unicode.Scalar]) -> [Int32] {
        var view = String.UnicodeScalarView()
        view.append(contentsOf: scalars)
        return Self.pieces(of: Array(String(view).nfc.unicodeScalars)).flatMap(merge)
    }

    private func merge(_ piece: [Unicode.Scalar]) -> [Int32] {
        var tokens = piece.flatMap { Array(String($0).utf8) }.map { letters[Int($0)] }
        while true {
            var best: (rank: Int, index: Int)?
            for index in tokens.indices.dropLast() {
                guard let rank = ranks[Pair(left: tokens[index], right: tokens[index + 1])] else { continue }
                if rank < best?.rank ?? .max { best = (rank, index) }
            }
            guard let best else { break }
            tokens[best.index...best.index + 1] = [tokens[best.index] + tokens[best.index + 1]]
        }
        return tokens.map { ids[$0]! }
    }
}

/// The pattern, alternative by alternative.
extension ReferenceTokenizer {
    private typealias Predicate = @Sendable (Unicode.Scalar) -> Bool

    /// A predicate, how often it may match (greedily), and whether it is a negative look-ahead.
    private struct Term: Sendable {
        let predicate: Predicate
        var least = 1
        var most = 1
        var mustNotFollow = false
    }

    @Sendable private static func isLetter(_ scalar: Unicode.Scalar) -> Bool {
        [.uppercaseLetter, .lowercaseLetter, .titlecaseLetter, .modifierLetter, .otherLetter]
            .contains(scalar.properties.generalCategory) && isInUnicode16(scalar)
    }

    private static func isInUnicode16(_ scalar: Unicode.Scalar) -> Bool {
        scalar.properties.age.map { $0.major <= 16 } ?? false
    }

    @Sendable private static func isNumber(_ scalar: Unicode.Scalar) -> Bool {
        [.decimalNumber, .letterNumber, .otherNumber].contains(scalar.properties.generalCategory)
            && isInUnicode16(scalar)
    }

    @Sendable private static func isSpace(_ scalar: Unicode.Scalar) -> Bool { scalar.properties.isWhitespace }
    @Sendable private static func isBreak(_ scalar: Unicode.Scalar) -> Bool { scalar == "\r" || scalar == "\n" }

    private static let alternatives: [[Term]] = {
        func word(_ letters: String) -> [Term] {
            [Term { $0 == "'" }]
                + letters.unicodeScalars.map { letter in
                    Term {
                        $0 == letter || $0.properties.lowercaseMapping == String(letter)
                            || letter == "s" && $0 == "\u{17F}"
                    }
                }
        }
        return ["s", "t", "re", "ve", "m", "ll", "d"].map(word) + [
            [
                Term(predicate: { !isBreak($0) && !isLetter($0) && !isNumber($0) }, least: 0),
                Term(predicate: isLetter, most: .max),
            ],
            [Term(predicate: isNumber)],
            [
                Term(predicate: { $0 == " " }, least: 0),
                Term(predicate: { !isSpace($0) && !isLetter($0) && !isNumber($0) }, most: .max),
                Term(predicate: isBreak, least: 0, most: .max),
            ],
            [Term(predicate: isSpace, least: 0, most: .max), Term(predicate: isBreak, most: .max)],
            [Term(predicate: isSpace, most: .max), Term(predicate: { !isSpace($0) }, mustNotFollow: true)],
            [Term(predicate: isSpace, most: .max)],
        ]
    }()

    static func pieces(of text: [Unicode.Scalar]) -> [[Unicode.Scalar]] {
        var pieces: [[Unicode.Scalar]] = []
        var start = 0
        while start < text.count {
            let end = alternatives.lazy.compactMap { match($0[...], text, start) }.first!
            pieces.append(Array(text[start..<end]))
            start = end
        }
        return pieces
    }

    /// The end of the first match of all `terms` in backtracking order.
    private static func match(_ terms: ArraySlice<Term>, _ text: [Unicode.Scalar], _ start: Int) -> Int? {
        guard let term = terms.first else { return start }
        if term.mustNotFollow {
            return start < text.count && term.predicate(text[start]) ? nil : match(terms.dropFirst(), text, start)
        }
        var count = 0
        while count < term.most, start + count < text.count, term.predicate(text[start + count]) { count += 1 }
        while count >= term.least {
            if let end = match(terms.dropFirst(), text, start + count) { return end }
            count -= 1
        }
        return nil
    }
}
