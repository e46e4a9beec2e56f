/// File names as strings.
///
/// A file name of the system is any sequence of bytes, but a Swift string is Unicode. Read as text, a name that is not
/// UTF-8 would be repaired: two names could become one, and neither file would be found. Here each byte that is not
/// part of valid UTF-8 becomes two noncharacters of U+FDD0…U+FDEF, one for each half of the byte. Unicode reserves
/// these code points for use within programs. Names in valid UTF-8 stay unchanged, except that such code points in a
/// name are encoded byte by byte in the same way. So different names are different strings, and every string converts
/// back to its name. All paths that lyra's Swift functions take are such strings. `printable` is for messages and
/// reports.
public enum SystemPath {
    /// First noncharacter for a byte's upper half (8…15, because ASCII is never encoded so), and for its lower half.
    private static let upper: UInt32 = 0xFDD0, lower: UInt32 = 0xFDE0

    /// The string for a name of these bytes.
    public static func string(_ bytes: some Collection<UInt8>) -> String {
        var result = String.UnicodeScalarView()
        var decoder = UTF8Scalars(Array(bytes))
        while let next = decoder.next() {
            switch next {
            case .scalar(let scalar) where !isReserved(scalar.value): result.append(scalar)
            case .scalar(let scalar): for byte in String(scalar).utf8 { append(byte, to: &result) }
            case .invalid(let byte): append(byte, to: &result)
            }
        }
        return String(result)
    }

    /// The string for a zero-terminated name from the system or a C caller.
    public static func string(cString: UnsafePointer<CChar>) -> String {
        if let valid = String(validatingCString: cString), !hasReserved(valid) { return valid }
        var count = 0
        while cString[count] != 0 { count += 1 }
        return string(UnsafeRawBufferPointer(start: cString, count: count))
    }

    /// The bytes of the name that a string encodes.
    public static func bytes(_ path: String) -> [UInt8] {
        guard hasReserved(path) else { return Array(path.utf8) }
        var result: [UInt8] = []
        for element in elements(path) {
            switch element {
            case .scalar(let scalar): result += String(scalar).utf8
            case .invalid(let byte): result.append(byte)
            }
        }
        return result
    }

    /// Text with file names, for people and for JSON: bytes that are not UTF-8 are written as `\xE9`.
    public static func printable(_ text: String) -> String {
        guard hasReserved(text) else { return text }
        var result = String.UnicodeScalarView()
        for element in elements(text) {
            switch element {
            case .scalar(let scalar): result.append(scalar)
            case .invalid(let byte):
                result.append(contentsOf: "\\x\(String(byte, radix: 16, uppercase: true))".unicodeScalars)
            }
        }
        return String(result)
    }

    private enum Element {
        case scalar(Unicode.Scalar)
        /// A byte that is not part of valid UTF-8.
        case invalid(UInt8)
    }

    private static func isReserved(_ value: UInt32) -> Bool { (upper..<lower + 16).contains(value) }

    /// Whether `text` can contain reserved code points, all of which begin with these two bytes.
    private static func hasReserved(_ text: String) -> Bool {
        var last: UInt8 = 0
        for byte in text.utf8 {
            if last == 0xEF, byte == 0xB7 { return true }
            last = byte
        }
        return false
    }

    private static func append(_ byte: UInt8, to result: inout String.UnicodeScalarView) {
        for value in [upper + UInt32(byte >> 4), lower + UInt32(byte & 15)] {
            if let scalar = Unicode.Scalar(value) { result.append(scalar) }
        }
    }

    private static func elements(_ text: String) -> [Element] {
        var result: [Element] = []
        var half: Unicode.Scalar?
        for scalar in text.unicodeScalars {
            if let first = half, (lower..<lower + 16).contains(scalar.value) {
                result.append(.invalid(UInt8((first.value - upper) << 4 | (scalar.value - lower))))
                half = nil
                continue
            }
            if let first = half { result.append(.scalar(first)) }
            half = (upper + 8..<lower).contains(scalar.value) ? scalar : nil
            if half == nil { result.append(.scalar(scalar)) }
        }
        if let half { result.append(.scalar(half)) }
        return result
    }

    /// Splits bytes into the scalars of valid UTF-8 and the other bytes.
    private struct UTF8Scalars {
        private let bytes: [UInt8]
        private var index = 0

        init(_ bytes: [UInt8]) { self.bytes = bytes }

        mutating func next() -> Element? {
            guard index < bytes.count else { return nil }
            let first = bytes[index]
            let length = first < 0x80 ? 1 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4
            let end = index + length
            if end <= bytes.count, let text = String(validating: bytes[index..<end], as: UTF8.self),
                let scalar = text.unicodeScalars.first
            {
                index = end
                return .scalar(scalar)
            }
            index += 1
            return .invalid(first)
        }
    }
}

/// Calls `body` with the file name that a path encodes, as a C string.
public func withSystemPath<R>(_ path: String, _ body: (UnsafePointer<CChar>) throws -> R) rethrows -> R {
    let bytes = SystemPath.bytes(path) + [0]
    return try bytes.withUnsafeBytes { buffer in
        try buffer.withMemoryRebound(to: CChar.self) { characters in
            // An array that ends with a zero has a first element.
            try characters.baseAddress.map(body) ?? body("")
        }
    }
}
