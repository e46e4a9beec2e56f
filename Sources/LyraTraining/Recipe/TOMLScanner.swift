import LyraBase

/// Reads a TOML text from its start to its end.
struct TOMLScanner {
    let text: TOMLText
    /// In Unicode scalars.
    var index = 0
    private let root = TOMLTable(.header)
    private var depth = 0

    /// How deep arrays and inline tables may be nested, and how many parts a key may have.
    private static let depthLimit = 64

    init(_ text: TOMLText) { self.text = text }

    mutating func document() throws -> TOMLTable {
        if peek() == "\u{FEFF}" { index += 1 }
        var current = root
        while true {
            skipBlanks()
            switch peek() {
            case nil: return root
            case "\n", "\r", "#": break
            case "[": current = try header()
            default: try member(of: current)
            }
            try endLine()
        }
    }

    // MARK: Characters

    func peek(_ ahead: Int = 0) -> Unicode.Scalar? {
        index + ahead < text.scalars.count ? text.scalars[index + ahead] : nil
    }

    mutating func take(_ scalar: Unicode.Scalar) -> Bool {
        guard peek() == scalar else { return false }
        index += 1
        return true
    }

    mutating func take(all scalars: String) -> Bool {
        let wanted = Array(scalars.unicodeScalars)
        guard text.scalars[index...].starts(with: wanted) else { return false }
        index += wanted.count
        return true
    }

    mutating func skipBlanks() { while peek() == " " || peek() == "\t" { index += 1 } }

    /// Takes a line break: LF or CR LF.
    mutating func takeLineBreak() -> Bool { take("\n") || take(all: "\r\n") }

    func error(_ message: String, at offset: Int? = nil, _ code: LyraError.Code = .format) -> LyraError {
        text.error(message, at: offset ?? index, code)
    }

    /// What stands at the present place, for messages.
    var found: String { peek().map { shown(String($0)) } ?? "the end of the file" }

    // MARK: Lines

    private mutating func comment() throws {
        guard take("#") else { return }
        while let scalar = peek(), scalar != "\n", !(scalar == "\r" && peek(1) == "\n") {
            guard !Self.isControl(scalar) else { throw error("a comment has the control character \(found)") }
            index += 1
        }
    }

    /// A control character that may not stand in comments and strings; a tab may.
    static func isControl(_ scalar: Unicode.Scalar) -> Bool {
        scalar.value < 0x20 && scalar != "\t" || scalar.value == 0x7F
    }

    private mutating func endLine() throws {
        skipBlanks()
        try comment()
        guard peek() == nil || takeLineBreak() else {
            throw error("unexpected \(found); a key with its value, and a header, take a line each")
        }
    }

    // MARK: Keys and tables

    /// `a`, `"a b"`, `a.b."c"`
    private mutating func key() throws -> [TOMLKey] {
        var parts: [TOMLKey] = []
        repeat {
            skipBlanks()
            guard parts.count < Self.depthLimit else { throw error("a key has more than \(Self.depthLimit) parts") }
            parts.append(try keyPart())
            skipBlanks()
        } while take(".")
        return parts
    }

    private mutating func keyPart() throws -> TOMLKey {
        let start = index
        switch peek() {
        case "\"": return TOMLKey(name: try basicString(), offset: start)
        case "'": return TOMLKey(name: try literalString(), offset: start)
        default:
            while let scalar = peek(), Self.isBare(scalar) { index += 1 }
            guard index > start else { throw error("expected a key, not \(found)") }
            return TOMLKey(name: string(start..<index), offset: start)
        }
    }

    private static func isBare(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar {
        case "a"..."z", "A"..."Z", "0"..."9", "_", "-": true
        default: false
        }
    }

    func string(_ range: Range<Int>) -> String {
        var view = String.UnicodeScalarView()
        view.append(contentsOf: text.scalars[range])
        return String(view)
    }

    /// Reads `[a.b]` or `[[a.b]]`. → the table that the lines after it belong to
    private mutating func header() throws -> TOMLTable {
        index += 1
        let isList = take("[")
        let parts = try key()
        guard take("]"), !isList || take("]") else {
            throw error("expected \(isList ? "]]" : "]") after the header's name, not \(found)")
        }
        var table = root
        for part in parts.dropLast() { table = try subtable(table, part) }
        guard let last = parts.last else { return table }
        return isList ? try newElement(of: table, last) : try newTable(in: table, last)
    }

    /// The table that a header goes through.
    private func subtable(_ table: TOMLTable, _ key: TOMLKey) throws -> TOMLTable {
        guard let member = table[key.name] else { return add(.implicit, to: table, key) }
        switch member.value.content {
        case .table(let inner) where inner.origin != .inline: return inner
        case .tables(let list): if let last = list.tables.last { return last }
        default: break
        }
        throw error(
            "\(shown(key.name)) is \(member.value.kind) that is complete, on line \(line(of: member)); "
                + "nothing can be added", at: key.offset)
    }

    private func add(_ origin: TOMLTable.Origin, to table: TOMLTable, _ key: TOMLKey) -> TOMLTable {
        let new = TOMLTable(origin)
        table.add(key, TOMLNode(content: .table(new), offset: key.offset))
        return new
    }

    private func newTable(in table: TOMLTable, _ key: TOMLKey) throws -> TOMLTable {
        guard let member = table[key.name] else { return add(.header, to: table, key) }
        guard case .table(let inner) = member.value.content, inner.origin == .implicit else {
            throw twice(key, member)
        }
        inner.origin = .header
        return inner
    }

    private func newElement(of table: TOMLTable, _ key: TOMLKey) throws -> TOMLTable {
        let new = TOMLTable(.header)
        if let member = table[key.name] {
            guard case .tables(let list) = member.value.content else { throw twice(key, member) }
            list.tables.append(new)
        } else {
            let list = TOMLTableList()
            list.tables.append(new)
            table.add(key, TOMLNode(content: .tables(list), offset: key.offset))
        }
        return new
    }

    private func twice(_ key: TOMLKey, _ member: TOMLTable.Member) -> LyraError {
        error(
            "\(shown(key.name)) is there twice; the first is on line \(line(of: member)); remove one", at: key.offset)
    }

    private func line(of member: TOMLTable.Member) -> Int { text.place(member.keyOffset).line }

    /// Reads `key = value` into a table.
    private mutating func member(of table: TOMLTable) throws {
        let parts = try key()
        guard take("=") else { throw error("expected = after the key, not \(found)") }
        skipBlanks()
        let value = try value()
        var table = table
        for part in parts.dropLast() { table = try dottedSubtable(table, part) }
        guard let last = parts.last else { return }
        if let member = table[last.name] { throw twice(last, member) }
        table.add(last, value)
    }

    /// The table that a dotted key goes through: not one that has a header of its own.
    private func dottedSubtable(_ table: TOMLTable, _ key: TOMLKey) throws -> TOMLTable {
        guard let member = table[key.name] else { return add(.dotted, to: table, key) }
        guard case .table(let inner) = member.value.content, inner.origin == .dotted || inner.origin == .implicit
        else {
            throw error(
                "\(shown(key.name)) is \(member.value.kind) that is complete, on line \(line(of: member)); "
                    + "a dotted key cannot add to it", at: key.offset)
        }
        inner.origin = .dotted
        return inner
    }

    // MARK: Values

    private mutating func value() throws -> TOMLNode {
        let start = index
        let content: TOMLNode.Content =
            switch peek() {
            case "\"": .string(take(all: "\"\"\"") ? try multilineBasicString(start) : try basicString())
            case "'": .string(take(all: "'''") ? try multilineLiteralString(start) : try literalString())
            case "[": .array(try nested { try $0.array() })
            case "{": .table(try nested { try $0.inlineTable() })
            default: try word()
            }
        return TOMLNode(content: content, offset: start)
    }

    private mutating func nested<R>(_ body: (inout TOMLScanner) throws -> R) throws -> R {
        guard depth < Self.depthLimit else { throw error("lists and tables are nested deeper than \(Self.depthLimit)") }
        depth += 1
        defer { depth -= 1 }
        index += 1
        return try body(&self)
    }

    /// After the bracket: values with line breaks and comments between them.
    private mutating func array() throws -> [TOMLNode] {
        var elements: [TOMLNode] = []
        while true {
            try skipLines()
            if take("]") { return elements }
            elements.append(try value())
            try skipLines()
            if take("]") { return elements }
            guard take(",") else { throw error("expected a comma or ] in the list, not \(found)") }
        }
    }

    private mutating func skipLines() throws {
        repeat {
            skipBlanks()
            try comment()
        } while takeLineBreak()
    }

    /// After the brace: members on one line, without a comma after the last.
    private mutating func inlineTable() throws -> TOMLTable {
        let table = TOMLTable(.dotted)
        skipBlanks()
        if !take("}") {
            repeat {
                try member(of: table)
                skipBlanks()
            } while take(",")
            guard take("}") else {
                throw error("expected a comma or } in the table, not \(found); it takes one line")
            }
        }
        table.origin = .inline
        return table
    }

    /// A number, true or false.
    private mutating func word() throws -> TOMLNode.Content {
        let start = index
        while let scalar = peek(), Self.isBare(scalar) || "+.:".unicodeScalars.contains(scalar) { index += 1 }
        let word = string(start..<index)
        guard !word.isEmpty else { throw error("expected a value, not \(found)") }
        switch word {
        case "true": return .boolean(true)
        case "false": return .boolean(false)
        default: break
        }
        guard !TOMLNumber.isDate(word) else {
            throw error(
                "\(shown(word)) is a date or a time, which has no use here; text needs quotation marks", at: start,
                .unsupported)
        }
        switch TOMLNumber(word) {
        case .integer(let value): return .integer(value)
        case .float(let value): return .float(value)
        case .tooLarge: throw error("\(shown(word)) does not fit 64 bits", at: start)
        case .malformed:
            let isText = word.unicodeScalars.first.map { !"+-.0123456789".unicodeScalars.contains($0) } ?? false
            throw error(
                "\(shown(word)) is not a value" + (isText ? "; text needs quotation marks" : ": a malformed number"),
                at: start)
        }
    }
}
