/// A JSON text as a tree, read or to be written. A node knows where it stands in the text, and a number stays as it is
/// written, so that decoding rounds it once.
struct JSONNode: Sendable {
    enum Content: Sendable {
        case null
        case bool(Bool)
        /// Digits, with a sign, a fraction and an exponent where there are any.
        case number(String)
        case string(String)
        case array([JSONNode])
        case object([(key: String, value: JSONNode)])
    }

    let content: Content
    /// The offset of the node's first byte in the text; 0 in a tree that was not read.
    let position: Int

    init(_ content: Content, at position: Int = 0) { (self.content, self.position) = (content, position) }

    /// Reads a whole text.
    ///
    /// - Throws: `LyraError.format`, naming `source` and the byte, if it is not JSON in UTF-8, is nested deeper than
    ///   64, or has a key twice in an object: readers do not agree on which of the two counts.
    init(_ text: UnsafeRawBufferPointer, source: String) throws {
        // A zero byte never stands in JSON, but in UTF-16.
        guard String(validating: text, as: UTF8.self) != nil, !text.contains(0) else {
            throw LyraError(.format, "\(source): not JSON: it is not UTF-8 text")
        }
        self = try JSONScanner.read(text, source: source) { try JSONNode(&$0) }
    }

    private init(_ scanner: inout JSONScanner) throws {
        let first = try scanner.peek()
        position = scanner.position
        switch first {
        case UInt8(ascii: "{"):
            var members: [(key: String, value: JSONNode)] = [], keys: Set<String> = []
            try scanner.object { scanner, key in
                let name = String(decoding: key, as: UTF8.self)
                guard keys.insert(name).inserted else {
                    throw scanner.error("the key \(shown(name)) stands twice in an object; remove one")
                }
                members.append((name, try JSONNode(&scanner)))
            }
            content = .object(members)
        case UInt8(ascii: "["):
            var elements: [JSONNode] = []
            try scanner.array { elements.append(try JSONNode(&$0)) }
            content = .array(elements)
        case UInt8(ascii: "\""): content = .string(try scanner.text(limit: .max))
        case UInt8(ascii: "t"), UInt8(ascii: "f"): content = .bool(try scanner.boolean())
        case UInt8(ascii: "n"):
            guard try scanner.null() else { throw scanner.error("expected null") }
            content = .null
        default: content = .number(try scanner.numberText())
        }
    }

    /// The node that keys and indices lead to, or the last one on the way that is there.
    func node(at path: some Sequence<any CodingKey>) -> JSONNode {
        var node = self
        for key in path {
            switch node.content {
            case .array(let elements):
                guard let index = key.intValue, elements.indices.contains(index) else { return node }
                node = elements[index]
            case .object(let members):
                guard let member = members.first(where: { $0.key == key.stringValue }) else { return node }
                node = member.value
            default: return node
            }
        }
        return node
    }

    /// What kind of value it is, for messages.
    var kind: String {
        switch content {
        case .null: "null"
        case .bool(let value): value ? "true" : "false"
        case .number: "a number"
        case .string: "a string"
        case .array: "a list"
        case .object: "an object"
        }
    }
}
