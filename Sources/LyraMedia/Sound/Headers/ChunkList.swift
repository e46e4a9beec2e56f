import LyraBase

/// The chunks of a RIFF-like file: each has a name, a size and a body.
struct ChunkList {
    /// How a format encodes chunks.
    struct Layout {
        /// Bytes of a chunk before its body. The first four are its name, the last its size.
        let head: Int64
        let sizeBytes: Int
        let isBigEndian: Bool
        /// Chunks begin at multiples of this.
        let alignment: Int64
        /// Whether the size includes the head.
        let countsHead: Bool

        static let little = Layout(head: 8, sizeBytes: 4, isBigEndian: false, alignment: 2, countsHead: false)
        static let big = Layout(head: 8, sizeBytes: 4, isBigEndian: true, alignment: 2, countsHead: false)
        static let caf = Layout(head: 12, sizeBytes: 8, isBigEndian: true, alignment: 1, countsHead: false)
        static let wave64 = Layout(head: 24, sizeBytes: 8, isBigEndian: false, alignment: 8, countsHead: true)

        /// Encodes a size.
        func bytes(_ size: Int64) -> [UInt8] {
            let little = (0..<sizeBytes).map { UInt8(truncatingIfNeeded: size >> (8 * Int64($0))) }
            return isBigEndian ? little.reversed() : little
        }
    }

    struct Chunk {
        let name: [UInt8]
        /// The offset of the body.
        let start: Int64
        /// The stated size of the body, which may be wrong; Int64.max if all bits are ones in 64 bits.
        let size: Int64
        /// The offset of the size field.
        let sizeOffset: Int64

        func isNamed(_ text: String) -> Bool { name.elementsEqual(text.utf8) }
    }

    /// The most chunks that are read.
    private static let maxChunks = 1 << 14

    let reader: any ByteReader
    let name: String
    let layout: Layout
    /// Bytes of the file.
    let size: Int64

    func chunk(at offset: Int64) throws -> Chunk? {
        guard offset >= 0, offset <= size - layout.head else { return nil }
        let head = try reader.peek(offset, Int(layout.head), name: name)
        guard head.count == Int(layout.head) else { return nil }
        let field = head.suffix(layout.sizeBytes)
        let raw = (layout.isBigEndian ? Array(field) : field.reversed()).reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
        let stated = Int64(clamping: raw)
        return Chunk(
            name: Array(head[..<4]), start: offset + layout.head,
            size: layout.countsHead ? max(stated - layout.head, 0) : stated,
            sizeOffset: offset + layout.head - Int64(layout.sizeBytes))
    }

    /// Where the next chunk begins; nil if this chunk ends beyond the file.
    func end(of chunk: Chunk) -> Int64? {
        guard let end = chunk.start.checkedAdding(chunk.size), end <= size else { return nil }
        return (end + layout.alignment - 1) / layout.alignment * layout.alignment
    }

    /// The first chunk named `wanted`, as the last element, after the sample description ("fmt " or "COMM") if that
    /// comes earlier; nil if there is no such chunk.
    func chunks(from first: Int64, to wanted: String) throws -> [Chunk]? {
        var found: [Chunk] = []
        var offset = first
        for _ in 0..<Self.maxChunks {
            guard let chunk = try chunk(at: offset) else { return nil }
            if chunk.isNamed(wanted) { return found + [chunk] }
            if found.isEmpty, chunk.isNamed("fmt ") || chunk.isNamed("COMM") { found.append(chunk) }
            guard let end = end(of: chunk) else { return nil }
            offset = end
        }
        return nil
    }

    /// Whether the bytes from `offset` to the end of the file are whole chunks.
    func isMadeOfChunks(from offset: Int64) throws -> Bool {
        var offset = offset
        for _ in 0..<Self.maxChunks {
            // The padding of the last chunk may be missing.
            if offset >= size { return true }
            guard let chunk = try chunk(at: offset), chunk.name.allSatisfy({ (0x20...0x7e).contains($0) }),
                let end = end(of: chunk)
            else { return false }
            offset = end
        }
        return false
    }

    /// The bytes of samples from `start` on, given the stated size, which is often a placeholder.
    ///
    /// Several sizes mean "up to the end of the file": 0, all ones, the values that programs write to a pipe, a size
    /// beyond the file, and the lower 32 bits of a size over 4 GiB. Exception: the stated size holds if whole chunks
    /// follow it.
    ///
    /// - Parameter isBare: Whether the format has no chunks after the samples.
    func sampleBytes(from start: Int64, stated: Int64, isBare: Bool = false) throws -> Int64 {
        let room = max(size - start, 0)
        if stated >= room { return room }
        let isPlaceholder = 0xffff_0000...0xffff_ffff ~= stated || 0x7fff_0000...0x8000_0000 ~= stated
        let isWrapped = room >= 1 << 32 && layout.sizeBytes == 4 && abs(room & 0xffff_ffff - stated) <= 1
        guard stated == 0 || layout.sizeBytes == 4 && isPlaceholder || isWrapped else { return stated }
        let end = (start + stated + layout.alignment - 1) / layout.alignment * layout.alignment
        return try !isBare && isMadeOfChunks(from: end) ? stated : room
    }
}
