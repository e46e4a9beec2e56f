/// Writes a file from front to back, and the CRC-32 of all bytes at its end. The file appears under its name when it is
/// complete.
public final class ChecksummedOutput {
    private let file: OutputFile
    private var offset = 0
    private var checksum = CRC32()

    /// - Throws: what `OutputFile` does.
    public init(path: String) throws { file = try OutputFile(path: path) }

    public func write(_ bytes: UnsafeRawBufferPointer) throws {
        try file.write(bytes, at: offset)
        checksum.update(bytes)
        offset += bytes.count
    }

    public func write(_ bytes: [UInt8]) throws { try bytes.withUnsafeBytes { try write($0) } }

    /// Writes a number, least significant byte first.
    public func write<T: FixedWidthInteger>(integer: T) throws {
        try withUnsafeBytes(of: integer.littleEndian) { try write($0) }
    }

    /// Adds the checksum and gives the file its name.
    public func commit() throws {
        try write(integer: checksum.value)
        try file.commit()
    }
}
