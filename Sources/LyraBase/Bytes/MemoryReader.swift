/// Bytes in memory from an allocator that can say no.
public final class MemoryReader: ByteReader {
    private let bytes: GrowingBuffer<UInt8>
    private var offset = 0

    /// - Throws: `LyraError.memory` if there is no room for the copy.
    public init(copying source: some Sequence<UInt8>) throws {
        do { bytes = try GrowingBuffer(copying: source) } catch let error as LyraError where error.code == .memory {
            throw LyraError(.memory, "\(error.message), a copy of what was given; feed the file or a reader instead")
        }
    }

    public var size: Int64 { Int64(bytes.count) }

    public func read(into buffer: UnsafeMutableRawBufferPointer) -> Int {
        let rest = UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(bytes.elements)[offset...])
        let part = UnsafeRawBufferPointer(rebasing: rest.prefix(buffer.count))
        buffer.copyMemory(from: part)
        offset += part.count
        return part.count
    }

    public func seek(to offset: Int64) { self.offset = Int(min(max(offset, 0), Int64(bytes.count))) }
}
