import LyraBase
import LyraFormats

/// An item as its JSON object has it. Unknown keys are ignored.
struct StoredItem: Decodable {
    var id: Label?
    var conversations: [StoredTurn]?
    var image, video, speech, long_speech: Texts?
    var speech_asr: Texts?
    var tgt_unit, tgt_units: Units?
    var tgt_speech: Texts?
    var answers: [Answer]?
    var answer: Answer?
    var kind, category: Label?
    var row_labels: [String: RowLabels]?
    var sequence_labels: [String: [Int32]]?

    struct StoredTurn: Decodable {
        var from: String
        var value: String
    }

    /// The most media of one item, and the most bytes of a path (Linux's PATH_MAX).
    private static let mediaLimit = 4096, pathLimit = 4095

    /// - Parameters:
    ///   - directory: the data set's own folder
    ///   - place: the file, the line and the number of the item
    /// - Throws: `LyraError.format`, with the place, what is wrong and what to do.
    func item(at index: Int, line: Int, place: String, _ folders: MediaFolders, directory: String) throws -> DatasetItem
    {
        var item = DatasetItem(
            id: id?.text ?? "\(index + 1)", index: index, line: line, place: place, turns: [])
        func paths(_ key: String, _ texts: Texts?, _ folder: String?) throws -> [String] {
            try Self.paths(texts?.all ?? [], key, folder ?? directory, place)
        }
        item.images = try paths("image", image, folders.pictures)
        item.videos = try paths("video", video, folders.pictures)
        item.speech = try paths("speech", speech, folders.recordings)
        item.longSpeech = try paths("long_speech", long_speech, folders.recordings)
        guard item.speech.isEmpty || item.longSpeech.isEmpty else {
            throw LyraError(
                .format, "\(place): there are \"speech\" and \"long_speech\"; put all recordings into one of them")
        }
        item.transcripts = speech_asr?.all ?? []
        let recordings = item.speech.count + item.longSpeech.count
        guard item.transcripts.count <= 1 || item.transcripts.count == recordings else {
            throw LyraError(
                .format,
                "\(place): \"speech_asr\" lists \(item.transcripts.count) texts for \(recordings) recordings; give "
                    + "one text, or one for each recording")
        }
        guard tgt_unit == nil || tgt_units == nil else {
            throw LyraError(.format, "\(place): there are \"tgt_unit\" and \"tgt_units\"; remove one of them")
        }
        item.units = (tgt_unit ?? tgt_units)?.all
        item.targetSpeech = try paths("tgt_speech", tgt_speech, folders.recordings)
        let listed = (answers ?? []).map(\.text)
        item.answers = listed.isEmpty ? answer.map { [$0.text] } ?? [] : listed
        item.kind = kind?.text ?? category?.text
        item.rowLabels = row_labels?.mapValues(\.all) ?? [:]
        item.sequenceLabels = sequence_labels ?? [:]
        // What an item must have depends on what it is used for.
        if let conversations { try addTurns(conversations, to: &item) }
        return item
    }

    private static func paths(_ names: [String], _ key: String, _ folder: String, _ place: String) throws -> [String] {
        guard names.count <= mediaLimit else {
            throw LyraError(
                .format, "\(place): \"\(key)\" lists \(names.count) files; an item can have \(mediaLimit)")
        }
        return try names.map { name in
            guard !name.isEmpty, name.utf8.count <= pathLimit, !name.utf8.contains(0) else {
                throw LyraError(
                    .format,
                    "\(place): \"\(key)\": \(shown(name)) is not a path: it is empty, longer than \(pathLimit) bytes "
                        + "or contains a zero byte; remove the key if there is no file")
            }
            let path = SystemPath.string(name.utf8)
            return FileSystem.isAbsolute(path) ? path : FileSystem.join(folder, path)
        }
    }

    // MARK: Turns

    private func addTurns(_ conversations: [StoredTurn], to item: inout DatasetItem) throws {
        var rest = conversations.enumerated().map { (number: $0, from: $1.from, value: $1.value) }[...]
        if let first = rest.first, first.from == "system" {
            item.system = first.value
            rest.removeFirst()
        }
        var texts: [(speaker: DatasetItem.Speaker, text: String)] = []
        for turn in rest {
            let speaker = try Self.speaker(turn.from, turn.number, item.place)
            // The reference drops an answer that comes before the first question.
            if texts.isEmpty, speaker == .model { continue }
            guard texts.last?.speaker != speaker else {
                throw LyraError(
                    .format,
                    "\(item.place): conversations[\(turn.number)] is from the same side as the turn before it; human "
                        + "and gpt must alternate")
            }
            texts.append((speaker, turn.value))
        }
        guard !texts.isEmpty else {
            throw LyraError(.format, "\(item.place): \"conversations\" has no turn from \"human\"; add one")
        }
        let human = try Placeholders.pieces(
            of: texts.filter { $0.speaker == .human }.map(\.text), images: item.images.count,
            videos: item.videos.count, speech: item.speech.count + item.longSpeech.count,
            isLong: !item.longSpeech.isEmpty, place: item.place)
        var next = human.makeIterator()
        item.turns = texts.map { speaker, text in
            let pieces = speaker == .human ? next.next() ?? [] : text.isEmpty ? [] : [.text(text)]
            return DatasetItem.Turn(speaker, pieces)
        }
    }

    private static func speaker(_ name: String, _ number: Int, _ place: String) throws -> DatasetItem.Speaker {
        switch name {
        case "human", "user": return .human
        case "gpt", "assistant": return .model
        default:
            throw LyraError(
                .format,
                "\(place): conversations[\(number)].from is \(shown(name)); it can be \"human\" or \"gpt\", and "
                    + "\"system\" in the first turn")
        }
    }
}

// MARK: Values of several types

/// A string, or a number as text.
struct Label: Decodable {
    let text: String

    init(from decoder: any Decoder) throws {
        let value = try decoder.singleValueContainer()
        if let string = try? value.decode(String.self) {
            text = string
        } else if let number = try? value.decode(Int.self) {
            text = "\(number)"
        } else if let number = try? value.decode(Double.self) {
            text = "\(number)"
        } else {
            throw mismatch(decoder, "expected a string or a number")
        }
    }
}

/// A string, or a list of strings.
package struct Texts: Decodable {
    package let all: [String]

    package init(from decoder: any Decoder) throws {
        if let text = try? decoder.singleValueContainer().decode(String.self) {
            all = [text]
        } else if (try? decoder.unkeyedContainer()) != nil {
            all = try [String](from: decoder)
        } else {
            throw mismatch(decoder, "expected a string or a list of strings")
        }
    }
}

/// An answer: a string, or an object with the key `answer`, as VQA's annotations have it.
struct Answer: Decodable {
    let text: String

    private enum Keys: CodingKey { case answer }

    init(from decoder: any Decoder) throws {
        if let text = try? decoder.singleValueContainer().decode(String.self) {
            self.text = text
        } else if let object = try? decoder.container(keyedBy: Keys.self) {
            text = try object.decode(String.self, forKey: .answer)
        } else {
            throw mismatch(decoder, "expected a string, or an object with the key \"answer\"")
        }
    }
}

/// Speech units: text such as "<12><7>", or a list of numbers.
struct Units: Decodable {
    let all: [Int32]

    init(from decoder: any Decoder) throws {
        if let text = try? decoder.singleValueContainer().decode(String.self) {
            guard let units = Self.read(text) else {
                throw mismatch(decoder, "expected units such as \"<12><7>\", but found \(shown(text, limit: 40))")
            }
            all = units
        } else if (try? decoder.unkeyedContainer()) != nil {
            all = try [Int32](from: decoder)
            if let wrong = all.first(where: { $0 < 0 }) { throw mismatch(decoder, "\(wrong) is not a unit") }
        } else {
            throw mismatch(decoder, "expected units such as \"<12><7>\", or a list of whole numbers")
        }
    }

    /// Nil if the text is anything but numbers in angle brackets and white space.
    private static func read(_ text: String) -> [Int32]? {
        var units: [Int32] = []
        var number: Int32?
        var isInside = false
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "<") where !isInside: isInside = true
            case UInt8(ascii: "0")...UInt8(ascii: "9") where isInside:
                guard let longer = (number ?? 0).checkedMultiplying(by: 10)?.checkedAdding(Int32(byte - 48)) else {
                    return nil
                }
                number = longer
            case UInt8(ascii: ">") where isInside:
                guard let unit = number else { return nil }
                units.append(unit)
                (number, isInside) = (nil, false)
            default:
                guard !isInside, [0x20, 0x09, 0x0A, 0x0D].contains(byte) else { return nil }
            }
        }
        return isInside ? nil : units
    }
}

/// Labels of rows: numbers, and pairs [label, rows] for several rows with one label.
struct RowLabels: Decodable {
    private(set) var all: [Int32] = []

    /// The most rows of an example.
    private static let rowLimit = 1 << 20

    init(from decoder: any Decoder) throws {
        var elements = try decoder.unkeyedContainer()
        while !elements.isAtEnd {
            if let label = try? elements.decode(Int32.self) {
                all.append(label)
            } else {
                let pair = try elements.decode([Int].self)
                guard pair.count == 2, let label = Int32(exactly: pair[0]), (0...Self.rowLimit).contains(pair[1]) else {
                    throw mismatch(decoder, "expected a label or [label, rows], but found \(pair)")
                }
                all += repeatElement(label, count: pair[1])
            }
            guard all.count <= Self.rowLimit else {
                throw mismatch(decoder, "more than \(Self.rowLimit) rows have labels")
            }
        }
    }
}

private func mismatch(_ decoder: any Decoder, _ reason: String) -> DecodingError {
    .typeMismatch(Any.self, .init(codingPath: decoder.codingPath, debugDescription: reason))
}
