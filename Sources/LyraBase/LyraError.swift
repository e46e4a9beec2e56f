/// The one error type of lyra: what kind of thing went wrong, and a sentence for a person.
///
/// The sentence says what was wrong, where (file, tensor, byte offset) and, where there is something to do, what to do.
public struct LyraError: Error, Equatable, Sendable, CustomStringConvertible {
    /// Kinds of failure, one for one the `LYRA_E_…` codes of the C header.
    public enum Code: Int32, Sendable, CaseIterable {
        /// The caller passed something that cannot be: a null pointer, a negative size, an unknown name.
        case argument = 1
        /// The operating system refused: a file that cannot be opened, read or written, a full disk.
        case io = 2
        /// The bytes are not what they should be: damaged, truncated, wrong shape, wrong type.
        case format = 3
        /// Something that is needed is not there: a tower, an adapter, a tensor, a vocoder.
        case missing = 4
        /// Well-formed, but not something that lyra runs.
        case unsupported = 5
        /// Memory, or a limit that the caller set, does not suffice.
        case memory = 6
        /// The call does not fit what the object is doing now.
        case state = 7
        /// The handle was closed, or never was one.
        case closed = 8
    }

    public let code: Code
    public let message: String

    /// - Parameter message: may name files as `SystemPath` has them
    public init(_ code: Code, _ message: String) {
        self.code = code
        self.message = SystemPath.printable(message)
    }

    public var description: String { message }
}

/// Text from a file as it may stand in a message: quoted, control characters escaped, at most `limit` characters.
public func shown(_ text: String, limit: Int = 120) -> String {
    text.unicodeScalars.count <= limit
        ? text.debugDescription
        : String(String.UnicodeScalarView(text.unicodeScalars.prefix(limit))).debugDescription + "…"
}
