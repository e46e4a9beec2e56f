import LyraTensor

/// The bytes of a file and the name that error messages give it. This module never opens files itself.
public struct NamedBytes: Sendable {
    public let name: String
    public let bytes: [UInt8]

    public init(name: String, bytes: [UInt8]) {
        self.name = name
        self.bytes = bytes
    }

    /// Reads the bytes as one JSON text; errors name the file.
    func scan(_ body: (inout JSONScanner) throws -> Void) throws {
        try bytes.withUnsafeBytes { try JSONScanner.read($0, source: name, body) }
    }
}
