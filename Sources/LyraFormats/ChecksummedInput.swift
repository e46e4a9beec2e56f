import Glibc
import LyraBase
import LyraTensor

/// Reads a file that `ChecksummedOutput` wrote, from front to back. The file is not mapped: if another process
/// truncates it, reading throws an error, where access to a mapping would end in SIGBUS.
public final class ChecksummedInput {
    public let path: String
    /// Bytes that are left to read, without the checksum at the end.
    public private(set) var remaining: Int
    private let descriptor: Int32
    private var offset = 0
    private var checksum = CRC32()

    private static let checksumBytes = 4
    /// Bytes that `finish` reads at a time.
    private static let bufferBytes = 1 << 16

    /// - Throws: `.missing` when there is no such file; `.io` when it cannot be opened or is not a regular file;
    ///   `.format` when the file is too short for a checksum; `.argument` for an empty path or one with a zero byte.
    public init(path: String) throws {
        let (descriptor, size, _) = try FileSystem.openForReading(path)
        self.path = path
        self.descriptor = descriptor
        remaining = size - Self.checksumBytes
        guard remaining >= 0 else { throw LyraError(.format, "\(path): \(size) bytes, too few for a checksum") }
    }

    deinit { close(descriptor) }

    /// Fills `buffer` with the next bytes.
    ///
    /// - Throws: `.format` if fewer bytes are left, or the file was truncated after it was opened; `.io`.
    public func read(into buffer: UnsafeMutableRawBufferPointer) throws {
        guard buffer.count <= remaining else { throw endsTooEarly(buffer.count) }
        try fill(buffer)
        remaining -= buffer.count
        checksum.update(UnsafeRawBufferPointer(buffer))
    }

    /// Reads the next `count` bytes.
    ///
    /// - Throws: As `read(into:)`; `.memory` if there is no room.
    public func read(bytes count: Int) throws -> GrowingBuffer<UInt8> {
        guard count <= remaining else { throw endsTooEarly(count) }
        let bytes = GrowingBuffer<UInt8>()
        try bytes.resize(to: count)
        try withExtendedLifetime(bytes) { try read(into: UnsafeMutableRawBufferPointer(bytes.elements)) }
        return bytes
    }

    /// Reads a little-endian integer.
    ///
    /// - Throws: As `read(into:)`.
    public func read<T: FixedWidthInteger>(_ type: T.Type = T.self) throws -> T {
        var number = T.zero
        try withUnsafeMutableBytes(of: &number) { try read(into: $0) }
        return T(littleEndian: number)
    }

    /// Reads the rest of the file and the checksum. → whether the checksum matches the bytes before it
    ///
    /// - Throws: As `read(into:)`; `.state` if the work is interrupted.
    public func finish() throws -> Bool {
        let buffer = try FloatStorage(count: Self.bufferBytes / MemoryLayout<Float>.stride)
        while remaining > 0 {
            try Interruption.check()
            try read(into: UnsafeMutableRawBufferPointer(start: buffer.base, count: min(remaining, Self.bufferBytes)))
        }
        let found = checksum.value
        var stored: UInt32 = 0
        try withUnsafeMutableBytes(of: &stored) { try fill($0) }
        return UInt32(littleEndian: stored) == found
    }

    private func endsTooEarly(_ needed: Int) -> LyraError {
        LyraError(
            .format,
            "\(path): the file ends too early: at byte \(offset), \(needed) bytes are needed, \(remaining) are left")
    }

    private func fill(_ buffer: UnsafeMutableRawBufferPointer) throws {
        var filled = 0
        while filled < buffer.count {
            let got = pread(descriptor, buffer.baseAddress.map { $0 + filled }, buffer.count - filled, offset)
            if got < 0 && errno == EINTR { continue }
            guard got >= 0 else { throw LyraError(.io, "\(path): cannot read at byte \(offset): \(systemMessage())") }
            guard got > 0 else {
                throw LyraError(.format, "\(path): the file was truncated to \(offset) bytes while lyra read it")
            }
            filled += got
            offset += got
        }
    }
}
