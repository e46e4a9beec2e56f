import LyraBase
import LyraFormats

/// The lines of a text file of any size, which stays mapped.
struct TextFileLines {
    private let file: MappedFile

    init(path: String) throws { file = try MappedFile(path: path) }

    /// Calls `body` with each line, without its line break and without a byte order mark, and with its number from 1.
    func forEach(_ body: (_ line: Slice<UnsafeRawBufferPointer>, _ number: Int) throws -> Void) rethrows {
        defer { withExtendedLifetime(file) {} }
        let bytes = file.bytes
        var start = bytes.starts(with: [0xEF, 0xBB, 0xBF]) ? 3 : 0, number = 0
        while start < bytes.count {
            let end = bytes[start...].firstIndex(of: UInt8(ascii: "\n")) ?? bytes.count
            let line = bytes[start..<end]
            number += 1
            try body(line.last == UInt8(ascii: "\r") ? line.dropLast() : line, number)
            start = end + 1
        }
    }
}

/// Text without white space at its ends; nil if it is not UTF-8.
func trimmedText(_ bytes: some Sequence<UInt8>) -> String? {
    guard let text = String(validating: bytes, as: UTF8.self) else { return nil }
    return trimmed(text)
}

/// Text without white space at its ends.
func trimmed(_ text: some StringProtocol) -> String {
    let scalars = text.unicodeScalars
    guard let first = scalars.firstIndex(where: { !$0.properties.isWhitespace }),
        let last = scalars.lastIndex(where: { !$0.properties.isWhitespace })
    else { return "" }
    return String(String.UnicodeScalarView(scalars[first...last]))
}
