/// Reads from a copy of bytes in memory.
public final class MemoryReader: ByteReader {
    private let bytes: GrowingBuffer<UInt8>
    private var offset = 0

    /// - Throws: `LyraError.memory` if there is no room for the copy.
    public init(copying source: some Sequence<UInt8>) throws {
        do { bytes = try GrowingBuffer(copying: source) } catch let error as LyraError where error.code == .memory {
            throw LyraError(.memory, "\(error.message): cannot copy the given bytes; feed the file or a reader instead")
        }
    }

    public var size: Int64 { Int64(bytes.count) }

    public func read(into buffer: UnsafeMutableRawBufferPointer) -> Int {
        let rest = UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(bytes.elements)[offset...])
        let next = UnsafeRawBufferPointer(rebasing: rest.prefix(buffer.count))
        buffer.copyMemory(from: next)
        offset += next.count
        return next.count
    }

    public func seek(to offset: Int64) { self.offset = Int(min(max(offset, 0), Int64(bytes.count))) }
}
