import LyraBase

/// The bytes of a file and the name that error messages give it. This module never opens files itself.
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

    /// Reads the bytes as one JSON text; errors name the file.
    func scan(_ body: (inout JSONScanner) throws -> Void) throws {
        try withBytes { try JSONScanner.read($0, source: name, body) }
    }
}
