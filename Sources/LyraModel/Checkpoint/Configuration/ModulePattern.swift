import LyraBase

/// `rank_pattern` or `alpha_pattern` of PEFT's adapter_config.json: values for modules whose names match a pattern.
///
/// PEFT takes the first key for which Python's `re.match(rf"(.*\.)?({key})$", name)` holds (`get_pattern_key` in
/// `peft/utils/other.py`): the key matches the name's end, and a dot or nothing precedes it. lyra evaluates keys of
/// letters, digits, `_`, `-`, `.` (which matches any character, as in a regular expression), `\.`, and the anchors `^`
/// and `$`.
struct ModulePattern: Decodable, Sendable {
    private enum Element: Sendable, Equatable {
        case scalar(Unicode.Scalar)
        case any
    }

    private struct Entry: Sendable {
        let pattern: [Element]
        /// Whether the pattern must match the whole name.
        let isWhole: Bool
        let value: Double
    }

    private var entries: [Entry] = []
    /// The first key with syntax that lyra does not evaluate.
    private(set) var unsupportedKey: String?

    private struct Key: CodingKey {
        let stringValue: String
        var intValue: Int? { nil }
        init(stringValue: String) { self.stringValue = stringValue }
        init?(intValue: Int) { nil }
    }

    init(from decoder: any Swift.Decoder) throws {
        let container = try decoder.container(keyedBy: Key.self)
        // In the order of the file, because the first match counts.
        for key in container.allKeys {
            let value = try container.decode(Double.self, forKey: key)
            if let entry = Self.entry(key.stringValue, value) {
                entries.append(entry)
            } else {
                unsupportedKey = unsupportedKey ?? key.stringValue
            }
        }
    }

    var values: [Double] { entries.map(\.value) }

    /// The value of the first pattern that matches one of the module's names; nil if none does.
    func value(of names: [String]) -> Double? {
        let names = names.map { Array($0.unicodeScalars) }
        return entries.first { entry in names.contains { Self.matches(entry, $0) } }?.value
    }

    private static func matches(_ entry: Entry, _ name: [Unicode.Scalar]) -> Bool {
        let start = name.count - entry.pattern.count
        guard start >= 0, start == 0 || !entry.isWhole && name[start - 1] == "." else { return false }
        return zip(entry.pattern, name[start...]).allSatisfy { element, scalar in
            element == .any || element == .scalar(scalar)
        }
    }

    /// - Returns: nil for syntax that lyra does not evaluate
    private static func entry(_ key: String, _ value: Double) -> Entry? {
        var rest = Array(key.unicodeScalars)[...]
        let isWhole = rest.first == "^"
        if isWhole { rest.removeFirst() }
        if rest.last == "$", rest.dropLast().last != "\\" { rest.removeLast() }
        var pattern: [Element] = []
        while let scalar = rest.popFirst() {
            switch scalar {
            case "\\":
                guard rest.popFirst() == "." else { return nil }
                pattern.append(.scalar("."))
            case ".": pattern.append(.any)
            case "a"..."z", "A"..."Z", "0"..."9", "_", "-": pattern.append(.scalar(scalar))
            default: return nil
            }
        }
        return Entry(pattern: pattern, isWhole: isWhole, value: value)
    }
}
