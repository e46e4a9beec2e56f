/// CRC-32 with the reflected polynomial 0xEDB88320 (PKWARE APPNOTE, section 4.4.7): the checksum of zip archives and of
/// saved sessions. Computed eight bytes at a time, with eight tables ("slicing by 8").
public struct CRC32: Sendable {
    /// Eight tables of 256 entries, concatenated. Table k advances the checksum over a byte with k bytes after it.
    private static let tables: [UInt32] = {
        var tables: [UInt32] = []
        for byte in UInt32(0)..<256 {
            tables.append((0..<8).reduce(byte) { sum, _ in sum & 1 == 1 ? sum >> 1 ^ 0xEDB8_8320 : sum >> 1 })
        }
        for index in 256..<2048 {
            let before = tables[index - 256]
            tables.append(before >> 8 ^ tables[Int(before & 0xFF)])
        }
        return tables
    }()

    private var sum = UInt32.max

    public init() {}

    /// The checksum of all bytes so far.
    public var value: UInt32 { ~sum }

    public mutating func update(_ bytes: UnsafeRawBufferPointer) {
        sum = CRC32.tables.withUnsafeBufferPointer { tables in
            var (sum, position) = (sum, 0)
            while position + 8 <= bytes.count {
                let low = UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: position, as: UInt32.self)) ^ sum
                let high = UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: position + 4, as: UInt32.self))
                func table(_ index: Int, _ byte: UInt32) -> UInt32 { tables[index &* 256 &+ Int(byte & 0xFF)] }
                let first = table(7, low) ^ table(6, low >> 8) ^ table(5, low >> 16) ^ table(4, low >> 24)
                let second = table(3, high) ^ table(2, high >> 8) ^ table(1, high >> 16) ^ table(0, high >> 24)
                sum = first ^ second
                position += 8
            }
            while position < bytes.count {
                sum = sum >> 8 ^ tables[Int((sum ^ UInt32(bytes[position])) & 0xFF)]
                position += 1
            }
            return sum
        }
    }

    public mutating func update(_ text: String) { Array(text.utf8).withUnsafeBytes { update($0) } }

    public mutating func update(_ bytes: RawSpan) { bytes.withUnsafeBytes { update($0) } }

    public static func checksum(_ bytes: UnsafeRawBufferPointer) -> UInt32 {
        var checksum = CRC32()
        checksum.update(bytes)
        return checksum.value
    }
}
