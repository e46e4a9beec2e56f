/// Any JSON value, for keys that no Swift type declares and for reports. Only for short texts: a value takes many times
/// the text's memory.
public enum JSONValue: Sendable {
    case null
    case bool(Bool)
    case number(Double)
    case string(String)
    case array([JSONValue])
    /// Members in the order of the text. A text that repeats a key is rejected.
    case object([(String, JSONValue)])

    /// Reads a whole text.
    ///
    /// - Throws: `LyraError.format`, naming `source` and the byte, if it is not JSON, is nested deeper than 64, or
    ///   repeats a key in an object.
    public init(_ text: UnsafeRawBufferPointer, source: String) throws {
        self.init(try JSONNode(text, source: source))
    }

    private init(_ node: JSONNode) {
        switch node.content {
        case .null: self = .null
        case .bool(let value): self = .bool(value)
        case .number(let text): self = .number(Double(text) ?? .nan)
        case .string(let text): self = .string(text)
        case .array(let elements): self = .array(elements.map { JSONValue($0) })
        case .object(let members): self = .object(members.map { ($0.key, JSONValue($0.value)) })
        }
    }

    /// The member of an object; nil if the member is null or absent, or if this value is not an object.
    public subscript(key: String) -> JSONValue? {
        guard case .object(let members) = self, let value = members.first(where: { $0.0 == key })?.1, value != .null
        else { return nil }
        return value
    }

    public var string: String? { if case .string(let value) = self { value } else { nil } }
    public var number: Double? { if case .number(let value) = self { value } else { nil } }
    public var bool: Bool? { if case .bool(let value) = self { value } else { nil } }
    public var elements: [JSONValue]? { if case .array(let value) = self { value } else { nil } }
}

extension JSONValue: Equatable {
    /// Ignores the order of members.
    public static func == (a: JSONValue, b: JSONValue) -> Bool {
        switch (a, b) {
        case (.null, .null): true
        case (.bool(let a), .bool(let b)): a == b
        case (.number(let a), .number(let b)): a == b
        case (.string(let a), .string(let b)): a == b
        case (.array(let a), .array(let b)): a == b
        case (.object(let a), .object(let b)): a.count == b.count && sorted(a) == sorted(b)
        default: false
        }
    }

    private struct Member: Equatable {
        let key: String
        let value: JSONValue
    }

    private static func sorted(_ members: [(String, JSONValue)]) -> [Member] {
        members.map { Member(key: $0.0, value: $0.1) }.sorted { $0.key < $1.key }
    }
}

// MARK: Writing

extension JSONValue {
    /// A file name; bytes that are not UTF-8 are written as `\xE9`.
    public static func name(_ path: String) -> JSONValue { .string(SystemPath.printable(path)) }

    /// The value as text on one line. Numbers are rounded to six decimals, enough for milliseconds and ratios; infinite
    /// numbers and NaN become null.
    public var text: String { JSONText.write(node, .oneLine) }

    private var node: JSONNode {
        switch self {
        case .null: JSONNode(.null)
        case .bool(let value): JSONNode(.bool(value))
        case .number(let value): value.isFinite ? JSONNode(.number(Self.text(value))) : JSONNode(.null)
        case .string(let value): JSONNode(.string(value))
        case .array(let values): JSONNode(.array(values.map(\.node)))
        case .object(let members): JSONNode(.object(members.map { (key: $0.0, value: $0.1.node) }))
        }
    }

    private static func text(_ value: Double) -> String {
        value == value.rounded() && abs(value) < 1e15 ? String(Int64(value)) : "\((value * 1e6).rounded() / 1e6)"
    }
}

extension JSONValue: ExpressibleByStringLiteral, ExpressibleByBooleanLiteral, ExpressibleByIntegerLiteral,
    ExpressibleByFloatLiteral
{
    public init(stringLiteral value: String) { self = .string(value) }
    public init(booleanLiteral value: Bool) { self = .bool(value) }
    public init(integerLiteral value: Int) { self = .number(Double(value)) }
    public init(floatLiteral value: Double) { self = .number(value) }
}
