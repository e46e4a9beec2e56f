/// Turns JSON text into Swift values and back.
public enum JSONText {
    /// Decodes a whole text.
    ///
    /// - Parameter source: the file, for messages
    /// - Throws: `LyraError.format`, naming the source, the path of keys and the byte, for a text that is not JSON,
    ///   lacks a key or has a value of another type; a `LyraError` that the type's own `init(from:)` throws.
    public static func decode<T: Decodable>(
        _ type: T.Type, from text: UnsafeRawBufferPointer, source: String
    ) throws -> T {
        let root = try JSONNode(text, source: source)
        do {
            return try T(from: JSONNodeDecoder(root, []))
        } catch let error as DecodingError {
            throw LyraError(.format, "\(source): \(describe(error, in: root))")
        } catch let error as LyraError {
            throw error
        } catch {
            throw LyraError(.format, "\(source): not readable as JSON: \(shown(String(describing: error)))")
        }
    }

    /// Encodes a value as text without white space.
    ///
    /// - Throws: `LyraError.format` if the value contains an infinite number or NaN.
    public static func encode(_ value: some Encodable) throws -> String { try write(node(value), .compact) }

    /// Encodes a value as text with one member on each line, for people.
    public static func encodeIndented(_ value: some Encodable) throws -> String {
        try write(node(value), .lines(indentation: ""))
    }

    private static func node(_ value: some Encodable) throws -> JSONNode {
        let encoder = JSONNodeEncoder([])
        do { try value.encode(to: encoder) } catch let error as EncodingError {
            throw LyraError(.format, "cannot be written as JSON: \(shown(String(describing: error)))")
        }
        return encoder.node
    }

    // MARK: Messages

    private static func describe(_ error: DecodingError, in root: JSONNode) -> String {
        let path: [any CodingKey], reason: String
        switch error {
        case .keyNotFound(let key, let context):
            (path, reason) = (context.codingPath, "the key \(shown(key.stringValue)) is missing")
        case .valueNotFound(_, let context), .typeMismatch(_, let context):
            (path, reason) = (context.codingPath, context.debugDescription)
        case .dataCorrupted(let context): (path, reason) = (context.codingPath, shown(context.debugDescription))
        @unknown default: (path, reason) = ([], "not readable as JSON")
        }
        return "\(place(path)): \(reason) (at byte \(root.node(at: path).position))"
    }

    /// The path to a value as text: `layers[3].size`.
    private static func place(_ path: [any CodingKey]) -> String {
        guard !path.isEmpty else { return "at the top level" }
        var text = ""
        for key in path {
            if let index = key.intValue {
                text += "[\(index)]"
            } else {
                text += (text.isEmpty ? "" : ".") + key.stringValue
            }
        }
        return "at " + shown(text)
    }

    // MARK: Writing

    /// Line breaks and spaces between elements.
    enum Layout {
        case compact
        /// On one line, with a space after each comma and colon.
        case oneLine
        /// Each member of an object on its own line; each list on one line.
        case lines(indentation: String)
    }

    /// The text of a tree.
    static func write(_ node: JSONNode, _ layout: Layout) -> String {
        switch node.content {
        case .null: return "null"
        case .bool(let value): return value ? "true" : "false"
        case .number(let text): return text
        case .string(let value): return quoted(value)
        case .array(let elements):
            if case .compact = layout { return "[" + elements.map { write($0, .compact) }.joined(separator: ",") + "]" }
            return "[" + elements.map { write($0, .oneLine) }.joined(separator: ", ") + "]"
        case .object(let members): return write(members, layout)
        }
    }

    private static func write(_ members: [(key: String, value: JSONNode)], _ layout: Layout) -> String {
        func all(_ inner: Layout, colon: String, separator: String) -> String {
            members.map { quoted($0.key) + colon + write($0.value, inner) }.joined(separator: separator)
        }
        switch layout {
        case .compact: return "{" + all(.compact, colon: ":", separator: ",") + "}"
        case .oneLine: return "{" + all(.oneLine, colon: ": ", separator: ", ") + "}"
        case .lines where members.isEmpty: return "{}"
        case .lines(let indentation):
            let inner = indentation + "  "
            return "{\n\(inner)" + all(.lines(indentation: inner), colon: ": ", separator: ",\n" + inner)
                + "\n\(indentation)}"
        }
    }

    /// A string as a JSON literal, with quotation marks and escapes.
    public static func quoted(_ string: String) -> String {
        var result = "\""
        for scalar in string.unicodeScalars {
            switch scalar {
            case "\"": result += "\\\""
            case "\\": result += "\\\\"
            case "\n": result += "\\n"
            case "\r": result += "\\r"
            case "\t": result += "\\t"
            case _ where scalar.value < 0x20:
                let hex = String(scalar.value, radix: 16)
                result += "\\u" + String(repeating: "0", count: 4 - hex.count) + hex
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result + "\""
    }
}
