import LyraBase

/// A TOML 1.0 text (toml.io/en/v1.0.0) as a tree. All forms of the language are read, but dates and times, which no
/// recipe needs, are refused.
package struct TOMLDocument {
    package let root: TOMLTable
    private let text: TOMLText

    /// - Parameter source: the file, for messages
    /// - Throws: `LyraError.format` with source, line and column, if the text is not UTF-8 or not TOML, defines a key
    ///   twice, or has a number that does not fit 64 bits; `.unsupported` for a date or a time.
    package init(_ bytes: [UInt8], source: String) throws {
        text = try TOMLText(bytes, source: source)
        var scanner = TOMLScanner(text)
        root = try scanner.document()
    }

    /// An error at a place in the text.
    package func error(_ message: String, at offset: Int) -> LyraError { text.error(message, at: offset) }
}

/// The text of a document, and the places in it.
struct TOMLText {
    let scalars: [Unicode.Scalar]
    let source: String

    init(_ bytes: [UInt8], source: String) throws {
        self.source = source
        guard let string = String(validating: bytes, as: UTF8.self) else {
            let lines = bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
            let line = lines.firstIndex { String(validating: $0, as: UTF8.self) == nil } ?? 0
            throw LyraError(.format, "\(source):\(line + 1): not UTF-8 text; save the file as UTF-8")
        }
        scalars = Array(string.unicodeScalars)
    }

    /// Lines and columns count from 1; columns count Unicode scalars.
    func place(_ offset: Int) -> (line: Int, column: Int) {
        let before = scalars.prefix(offset)
        let start = before.lastIndex(of: "\n").map { $0 + 1 } ?? 0
        return (before.count { $0 == "\n" } + 1, offset - start + 1)
    }

    func error(_ message: String, at offset: Int, _ code: LyraError.Code = .format) -> LyraError {
        let place = place(offset)
        return LyraError(code, "\(source):\(place.line):\(place.column): \(message)")
    }
}

/// A value, and where it begins in the text.
package struct TOMLNode {
    package enum Content {
        case string(String)
        case integer(Int64)
        case float(Double)
        case boolean(Bool)
        case array([TOMLNode])
        case table(TOMLTable)
        /// Tables under the same header `[[name]]`.
        case tables(TOMLTableList)
    }

    package let content: Content
    /// In Unicode scalars.
    package let offset: Int

    /// The kind of value, for messages.
    package var kind: String {
        switch content {
        case .string: "text"
        case .integer: "an integer"
        case .float: "a number with a fraction"
        case .boolean: "true or false"
        case .array: "a list"
        case .table: "a table"
        case .tables: "a list of tables"
        }
    }
}

/// A table: members in the order of the text.
package final class TOMLTable {
    /// How the table came about; decides what may still be added to it.
    enum Origin {
        /// By a header of a table inside it.
        case implicit
        /// By its own header.
        case header
        /// By a dotted key.
        case dotted
        /// In braces: complete.
        case inline
    }

    package struct Member {
        package let key: String
        package let keyOffset: Int
        package let value: TOMLNode
    }

    var origin: Origin
    package private(set) var members: [Member] = []
    /// By the key's bytes: Swift compares strings by Unicode equivalence, TOML by code points.
    private var indices: [[UInt8]: Int] = [:]

    init(_ origin: Origin) { self.origin = origin }

    package subscript(key: String) -> Member? { indices[Array(key.utf8)].map { members[$0] } }

    func add(_ key: TOMLKey, _ value: TOMLNode) {
        indices[Array(key.name.utf8)] = members.count
        members.append(Member(key: key.name, keyOffset: key.offset, value: value))
    }
}

/// The tables of a header `[[name]]`.
package final class TOMLTableList {
    package internal(set) var tables: [TOMLTable] = []
}

/// One part of a dotted key.
struct TOMLKey {
    let name: String
    let offset: Int
}
