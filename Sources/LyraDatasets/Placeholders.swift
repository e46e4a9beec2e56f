import LyraBase

/// Places the media of an item among the texts of its human turns.
///
/// `<image>`, `<video>` and `<speech>` in a text stand for the item's media, in their order. In an item with videos and
/// no images, `<image>` stands for a video, as in the reference. Media of a kind that no text mentions come before the
/// first text: images, then videos, then recordings.
///
/// White space follows the reference (`preprocess_multimodal` of lyra/train/train.py): after a picture and at the ends
/// of a turn with a picture it is dropped; the line break after speech stays. A turn's only picture comes first,
/// wherever its placeholder stands.
struct Placeholders {
    private enum Kind: String, CaseIterable {
        case image = "<image>"
        case video = "<video>"
        case speech = "<speech>"

        var isPicture: Bool { self != .speech }
    }

    private enum Token {
        case text(Substring)
        case medium(Kind)
    }

    private let texts: [[Token]]
    private let isLong: Bool
    private var used: [Kind: Int] = [:]

    /// - Parameter texts: the human turns
    private init(_ texts: [String], isLong: Bool) { (self.texts, self.isLong) = (texts.map(Self.tokens), isLong) }

    /// The pieces of each human turn.
    ///
    /// - Parameter texts: the human turns, at least one
    /// - Throws: `LyraError.format` if the placeholders of a kind are not as many as the media.
    static func pieces(
        of texts: [String], images: Int, videos: Int, speech: Int, isLong: Bool, place: String
    ) throws -> [[DatasetItem.Piece]] {
        var placing = Placeholders(texts, isLong: isLong)
        var counts: [Kind: Int] = [:]
        for case .medium(let kind) in placing.texts.joined() { counts[kind, default: 0] += 1 }
        let imagesAreVideos = images == 0 && videos > 0 && counts[.video] == nil
        if imagesAreVideos { (counts[.video], counts[.image]) = (counts[.image], nil) }
        var unmentioned: [Token] = []
        let listed = [
            (Kind.image, "image", images), (.video, "video", videos),
            (.speech, isLong ? "long_speech" : "speech", speech),
        ]
        for (kind, key, count) in listed {
            let found = counts[kind] ?? 0
            guard found == 0 || found == count else {
                let name = imagesAreVideos && kind == .video ? Kind.image.rawValue : kind.rawValue
                throw LyraError(
                    .format,
                    "\(place): the texts have \(found) \(name), but \"\(key)\" lists \(count); make them equal, or "
                        + "remove all \(name)")
            }
            if found == 0 { unmentioned += Array(repeating: .medium(kind), count: count) }
        }
        return placing.texts.enumerated().map { turn, tokens in
            var tokens = tokens
            if imagesAreVideos { tokens = tokens.map { if case .medium(.image) = $0 { .medium(.video) } else { $0 } } }
            return placing.pieces(of: tokens, adding: turn == 0 ? unmentioned : [])
        }
    }

    // MARK: Reading

    /// Splits a text at its placeholders.
    private static func tokens(_ text: String) -> [Token] {
        var tokens: [Token] = []
        var rest = text[...]
        while let (range, kind) = firstPlaceholder(in: rest) {
            if range.lowerBound > rest.startIndex { tokens.append(.text(rest[..<range.lowerBound])) }
            tokens.append(.medium(kind))
            rest = rest[range.upperBound...]
        }
        if !rest.isEmpty { tokens.append(.text(rest)) }
        return tokens
    }

    private static func firstPlaceholder(in text: Substring) -> (range: Range<Substring.Index>, kind: Kind)? {
        // By scalars: as Characters, "<image>" followed by a combining mark would not be found.
        let scalars = text.unicodeScalars
        var start = scalars.startIndex
        while let open = scalars[start...].firstIndex(of: "<") {
            for kind in Kind.allCases where scalars[open...].starts(with: kind.rawValue.unicodeScalars) {
                return (open..<scalars.index(open, offsetBy: kind.rawValue.unicodeScalars.count), kind)
            }
            start = scalars.index(after: open)
        }
        return nil
    }

    // MARK: Placing

    private mutating func pieces(of tokens: [Token], adding unmentioned: [Token]) -> [DatasetItem.Piece] {
        var tokens = tokens
        var pictures = 0
        for case .medium(let kind) in tokens where kind.isPicture { pictures += 1 }
        if pictures == 1 { tokens = Self.pictureFirst(tokens) }
        if pictures > 0 { tokens = Self.trimmed(tokens) }
        tokens = Self.inserting(unmentioned, into: tokens)
        return build(tokens)
    }

    /// Moves the only picture to the front, and joins the texts around it.
    private static func pictureFirst(_ tokens: [Token]) -> [Token] {
        var first: [Token] = [], rest: [Token] = []
        for token in tokens {
            switch (token, rest.last) {
            case (.medium(let kind), _) where kind.isPicture: first.append(token)
            case (.text(let text), .text(let before)?): rest[rest.count - 1] = .text(before + text)
            default: rest.append(token)
            }
        }
        return first + rest
    }

    /// Without white space at both ends and after each picture.
    private static func trimmed(_ tokens: [Token]) -> [Token] {
        var result: [Token] = []
        for (index, token) in tokens.enumerated() {
            guard case .text(let text) = token else {
                result.append(token)
                continue
            }
            var scalars = text.unicodeScalars
            let followsPicture = if case .medium(let kind)? = result.last { kind.isPicture } else { false }
            if index == 0 || followsPicture { scalars = scalars.drop { $0.properties.isWhitespace } }
            if index == tokens.count - 1 {
                while scalars.last?.properties.isWhitespace ?? false { scalars.removeLast() }
            }
            if !scalars.isEmpty { result.append(.text(Substring(scalars))) }
        }
        return result
    }

    /// Puts media that no text mentions before the text: pictures in front of everything, recordings after the pictures
    /// at the front. A line break separates a recording from the text.
    private static func inserting(_ unmentioned: [Token], into tokens: [Token]) -> [Token] {
        var pictures: [Token] = [], recordings: [Token] = []
        for case .medium(let kind) in unmentioned {
            if kind.isPicture { pictures.append(.medium(kind)) } else { recordings.append(.medium(kind)) }
        }
        let front = tokens.prefix { if case .medium(let kind) = $0 { kind.isPicture } else { false } }
        var rest = Array(tokens.dropFirst(front.count))
        if !recordings.isEmpty, case .text(let text)? = rest.first, !text.isEmpty, text.unicodeScalars.first != "\n" {
            rest.insert(.text("\n"), at: 0)
        }
        return pictures + front + recordings + rest
    }

    /// Numbers the media and joins neighboring texts.
    private mutating func build(_ tokens: [Token]) -> [DatasetItem.Piece] {
        var pieces: [DatasetItem.Piece] = []
        for token in tokens {
            switch token {
            case .text(let text):
                guard !text.isEmpty else { continue }
                if case .text(let before)? = pieces.last {
                    pieces[pieces.count - 1] = .text(before + text)
                } else {
                    pieces.append(.text(String(text)))
                }
            case .medium(let kind):
                let number = used[kind, default: 0]
                used[kind] = number + 1
                switch kind {
                case .image: pieces.append(.image(number))
                case .video: pieces.append(.video(number))
                case .speech: pieces.append(isLong ? .longSpeech(number) : .speech(number))
                }
            }
        }
        return pieces
    }
}
