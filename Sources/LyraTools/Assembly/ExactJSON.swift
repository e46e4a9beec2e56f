import LyraBase

/// A JSON value for writing with all digits of its numbers; `JSONValue.text` rounds them.
struct ExactJSON: Encodable {
    let value: JSONValue

    init(_ value: JSONValue) { self.value = value }

    private struct Key: CodingKey {
        let stringValue: String
        var intValue: Int? { nil }
        init(stringValue: String) { self.stringValue = stringValue }
        init?(intValue: Int) { nil }
    }

    func encode(to encoder: any Encoder) throws {
        switch value {
        case .null:
            var container = encoder.singleValueContainer()
            try container.encodeNil()
        case .bool(let value):
            var container = encoder.singleValueContainer()
            try container.encode(value)
        case .number(let value):
            var container = encoder.singleValueContainer()
            // Doubles below 2⁵³ hold every whole number.
            if let whole = Int(exactly: value), whole.magnitude < 1 << 53 {
                try container.encode(whole)
            } else {
                try container.encode(value)
            }
        case .string(let value):
            var container = encoder.singleValueContainer()
            try container.encode(value)
        case .array(let values):
            var container = encoder.unkeyedContainer()
            for value in values { try container.encode(ExactJSON(value)) }
        case .object(let members):
            var container = encoder.container(keyedBy: Key.self)
            for (key, value) in members { try container.encode(ExactJSON(value), forKey: Key(stringValue: key)) }
        }
    }

    /// The value as text, a member of an object on each line.
    static func text(_ value: JSONValue) throws -> String { try JSONText.encodeIndented(ExactJSON(value)) + "\n" }
}
