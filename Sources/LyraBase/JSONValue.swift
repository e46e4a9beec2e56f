/// Any JSON value, for questions about keys that no type names. For short texts: it takes many times their size.
public enum JSONValue: Sendable, Equatable {
    case null
    case bool(Bool)
    case number(Double)
    case string(String)
    case array([JSONValue])
    /// In no order. A key that stands twice is refused: readers do not agree on which of the two counts.
    case object([String: JSONValue])

    /// Reads a whole text.
    ///
    /// - Throws: `LyraError.format`, naming `source`, if it is not JSON, nested deeper than 64, or has a key twice.
    public init(_ text: UnsafeRawBufferPointer, source: String) throws {
        self = try JSONScanner.read(text, source: source) { try JSONValue(&$0) }
    }

    private init(_ scanner: inout JSONScanner) throws {
        switch try scanner.peek() {
        case UInt8(ascii: "{"):
            var members: [String: JSONValue] = [:]
            try scanner.object { scanner, key in
                let name = String(decoding: key, as: UTF8.self)
                guard members.updateValue(try JSONValue(&scanner), forKey: name) == nil else {
                    throw scanner.error("the key \(shown(name)) stands twice in an object; remove one")
                }
            }
            self = .object(members)
        case UInt8(ascii: "["):
            var elements: [JSONValue] = []
            try scanner.array { elements.append(try JSONValue(&$0)) }
            self = .array(elements)
        case UInt8(ascii: "\""): self = .string(try scanner.text(limit: .max))
        case UInt8(ascii: "t"), UInt8(ascii: "f"): self = .bool(try scanner.boolean())
        case UInt8(ascii: "n"):
            guard try scanner.null() else { throw scanner.error("expected null") }
            self = .null
        default: self = .number(try scanner.number())
        }
    }

    /// The member of an object; nil for one that is null or not there, and for what is no object.
    public subscript(key: String) -> JSONValue? {
        guard case .object(let members) = self, let value = members[key], value != .null else { return nil }
        return value
    }

    public var string: String? { if case .string(let value) = self { value } else { nil } }
    public var number: Double? { if case .number(let value) = self { value } else { nil } }
    public var bool: Bool? { if case .bool(let value) = self { value } else { nil } }
    public var elements: [JSONValue]? { if case .array(let value) = self { value } else { nil } }
}

extension JSONValue: ExpressibleByStringLiteral, ExpressibleByBooleanLiteral, ExpressibleByIntegerLiteral,
    ExpressibleByFloatLiteral
{
    public init(stringLiteral value: String) { self = .string(value) }
    public init(booleanLiteral value: Bool) { self = .bool(value) }
    public init(integerLiteral value: Int) { self = .number(Double(value)) }
    public init(floatLiteral value: Double) { self = .number(value) }
}
