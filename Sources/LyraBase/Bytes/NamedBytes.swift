/// The bytes of a file and the name that error messages give it.
public struct NamedBytes: Sendable {
    private enum Content: Sendable {
        case array([UInt8])
        case buffer(GrowingBuffer<UInt8>)
    }

    public let name: String
    private let content: Content

    public init(name: String, bytes: [UInt8]) { (self.name, content) = (name, .array(bytes)) }

    /// - Parameter bytes: must not change afterwards
    public init(name: String, bytes: GrowingBuffer<UInt8>) { (self.name, content) = (name, .buffer(bytes)) }

    public func withBytes<R>(_ body: (UnsafeRawBufferPointer) throws -> R) rethrows -> R {
        switch content {
        case .array(let bytes): return try bytes.withUnsafeBytes(body)
        case .buffer(let bytes):
            defer { withExtendedLifetime(bytes) {} }
            return try body(UnsafeRawBufferPointer(bytes.elements))
        }
    }

    /// Decodes the bytes as one JSON text; errors name the file.
    public func decode<T: Decodable>(_ type: T.Type) throws -> T {
        try withBytes { try JSONText.decode(type, from: $0, source: name) }
    }

    /// The bytes as one JSON value; errors name the file.
    public func json() throws -> JSONValue { try withBytes { try JSONValue($0, source: name) } }

    /// Reads the bytes as one JSON text without building a tree; errors name the file.
    public func scan(_ body: (inout JSONScanner) throws -> Void) throws {
        try withBytes { try JSONScanner.read($0, source: name, body) }
    }
}
