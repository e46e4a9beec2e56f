import LyraBase

/// Where an item's JSON text is in its file.
struct ItemSpan: BitwiseCopyable, Equatable {
    var offset: Int64
    var length: Int64
    /// Counted from 1.
    var line: Int
}

/// Finds the items of a data set from its start to its end, with constant memory: the elements of a JSON list, or the
/// lines of a JSON-lines file that are not blank.
///
/// Only brackets and strings of a list are read, so a damaged item does not hide the items after it.
struct ItemScanner {
    private enum Layout { case list, lines }

    private static let bufferSize = 1 << 16

    private let file: DatasetBytes
    private var buffer: [UInt8] = []
    private var index = 0
    /// Offset in the file of the buffer's first byte.
    private var base: Int64 = 0
    private var line = 1
    private var itemsFound = 0
    private var layout = Layout.lines
    private var isDone = false

    /// - Throws: `LyraError` if the file cannot be read, or begins neither a list nor an object.
    init(_ file: DatasetBytes) throws {
        self.file = file
        try skipByteOrderMark()
        switch try peekPastSpace() {
        case UInt8(ascii: "["):
            layout = .list
            skip()
        case UInt8(ascii: "{"): break
        case nil: throw LyraError(.format, "\(file.path): the file has no items; it is empty")
        default:
            throw error(
                "a data set is a JSON list of objects, or one object on each line; this file begins with neither")
        }
    }

    /// The next item; nil at the end.
    ///
    /// - Throws: `LyraError` if the file cannot be read, or if a list is damaged so that no more items can be found.
    mutating func next() throws -> ItemSpan? {
        guard !isDone else { return nil }
        let found = try layout == .list ? nextElement() : nextLine()
        if found == nil { isDone = true } else { itemsFound += 1 }
        return found
    }

    // MARK: Lines

    private mutating func nextLine() throws -> ItemSpan? {
        guard try peekPastSpace() != nil else { return nil }
        let start = offset, startLine = line
        while let byte = try peek(), byte != UInt8(ascii: "\n") { skip() }
        return ItemSpan(offset: start, length: offset - start, line: startLine)
    }

    // MARK: Lists

    private mutating func nextElement() throws -> ItemSpan? {
        var next = try peekPastSpace()
        if next == UInt8(ascii: "]") { return try end() }
        if itemsFound > 0 {
            guard next == UInt8(ascii: ",") else {
                throw next == nil ? truncated() : error("expected ',' or ']' after item \(itemsFound)")
            }
            skip()
            next = try peekPastSpace()
        }
        guard let next else { throw truncated() }
        guard next == UInt8(ascii: "{") else {
            throw error("item \(itemsFound + 1) is not an object; a data set is a list of objects")
        }
        return try readObject()
    }

    /// Moves past a balanced object.
    private mutating func readObject() throws -> ItemSpan {
        let start = offset, startLine = line
        var depth = 0
        var isString = false
        while let byte = try peek() {
            skip()
            if isString {
                if byte == UInt8(ascii: "\\") {
                    if try peek() != nil { skip() }
                } else if byte == UInt8(ascii: "\"") {
                    isString = false
                }
                continue
            }
            switch byte {
            case UInt8(ascii: "\""): isString = true
            case UInt8(ascii: "{"), UInt8(ascii: "["): depth += 1
            case UInt8(ascii: "}"), UInt8(ascii: "]"):
                depth -= 1
                if depth == 0 { return ItemSpan(offset: start, length: offset - start, line: startLine) }
            default: break
            }
        }
        line = startLine
        throw error("the file ends inside item \(itemsFound + 1), which begins here; the file is truncated")
    }

    private mutating func end() throws -> ItemSpan? {
        skip()
        guard try peekPastSpace() == nil else { throw error("text follows the end of the list") }
        return nil
    }

    private func truncated() -> LyraError {
        error("the list does not end with ']' after item \(itemsFound); the file is truncated")
    }

    // MARK: Bytes

    private mutating func skipByteOrderMark() throws {
        _ = try peek()
        if buffer.starts(with: [0xEF, 0xBB, 0xBF]) { index = 3 }
    }

    private func error(_ reason: String) -> LyraError { LyraError(.format, "\(file.path), line \(line): \(reason)") }

    private var offset: Int64 { base + Int64(index) }

    /// The next byte, not consumed; nil at the end.
    private mutating func peek() throws -> UInt8? {
        if index == buffer.count {
            base += Int64(index)
            index = 0
            buffer = try file.read(at: base, count: Self.bufferSize)
            if buffer.isEmpty { return nil }
        }
        return buffer[index]
    }

    /// Consumes the byte that `peek` returned.
    private mutating func skip() {
        if buffer[index] == UInt8(ascii: "\n") { line += 1 }
        index += 1
    }

    private mutating func peekPastSpace() throws -> UInt8? {
        while let byte = try peek() {
            guard [0x20, 0x09, 0x0A, 0x0D].contains(byte) else { return byte }
            skip()
        }
        return nil
    }
}
