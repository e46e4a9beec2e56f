/// lyra's only error type: a code for programs, and a message for people.
///
/// The message names the fault, its place (file, tensor, byte offset) and, if there is one, the remedy.
public struct LyraError: Error, Equatable, Sendable, CustomStringConvertible {
    /// Kinds of failure; each equals a `LYRA_E_…` code of the C header.
    public enum Code: Int32, Sendable, CaseIterable {
        /// The caller passed an invalid value: a null pointer, a negative size, an unknown name.
        case argument = 1
        /// A system call failed: a file cannot be opened, read or written, or the disk is full.
        case io = 2
        /// Invalid data: damaged, truncated, wrong shape, wrong type.
        case format = 3
        /// Something required is absent: a tower, an adapter, a tensor, the vocoder, or a library that is loaded on
        /// first use.
        case missing = 4
        /// Valid data that lyra does not support.
        case unsupported = 5
        /// There is no memory, or the operation exceeds a limit that the caller set.
        case memory = 6
        /// The call is not allowed in the object's current state.
        case state = 7
        /// The handle is closed or invalid.
        case closed = 8
    }

    public let code: Code
    public let message: String

    /// - Parameter message: may contain file names in the form of `SystemPath`
    public init(_ code: Code, _ message: String) {
        self.code = code
        self.message = SystemPath.printable(message)
    }

    public var description: String { message }
}

/// Untrusted text for a message: quoted, control characters escaped, cut after `limit` characters.
public func shown(_ text: String, limit: Int = 120) -> String {
    text.unicodeScalars.count <= limit
        ? text.debugDescription
        : String(String.UnicodeScalarView(text.unicodeScalars.prefix(limit))).debugDescription + "…"
}
