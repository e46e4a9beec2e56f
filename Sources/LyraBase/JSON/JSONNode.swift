/// A JSON text as a tree, for reading and writing. A node keeps its offset in the text, and a number keeps its digits,
/// so that decoding rounds only once.
struct JSONNode: Sendable {
    enum Content: Sendable {
        case null
        case bool(Bool)
        /// The number as written: digits, with sign, fraction and exponent if present.
        case number(String)
        case string(String)
        case array([JSONNode])
        case object([(key: String, value: JSONNode)])
    }

    let content: Content
    /// Offset of the node's first byte in the text; 0 if the tree was not parsed.
    let position: Int

    init(_ content: Content, at position: Int = 0) { (self.content, self.position) = (content, position) }

    /// Reads a whole text.
    ///
    /// - Throws: `LyraError.format`, naming `source` and the byte, if the text is not JSON in UTF-8, is nested
    ///   deeper than 64, or repeats a key in an object: parsers disagree about which value counts.
    init(_ text: UnsafeRawBufferPointer, source: String) throws {
        // JSON in UTF-8 has no zero bytes; in UTF-16 it has.
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
                    throw scanner.error("an object has the key \(shown(name)) twice; remove one")
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

    /// The node at a path of keys and indices; if there is none, the last node on the path that exists.
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

    /// The kind of value, for messages.
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
