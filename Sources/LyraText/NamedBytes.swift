/// The bytes of a file and the name that error messages give it. This module never opens files itself.
public struct NamedBytes: Sendable {
    public let name: String
    public let bytes: [UInt8]

    public init(name: String, bytes: [UInt8]) {
        self.name = name
        self.bytes = bytes
    }
}
