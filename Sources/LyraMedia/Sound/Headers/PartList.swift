import LyraBase

/// The parts of a file of RIFF's kind: each has a name, a size and its bytes.
struct PartList {
    /// How the parts of a format are written.
    struct Layout {
        /// Bytes of a part in front of its body, of which the first four are its name and the last its size.
        let head: Int64
        let sizeBytes: Int
        let isBigEndian: Bool
        /// Parts begin at multiples of this.
        let alignment: Int64
        /// Whether the size counts the head, too.
        let countsHead: Bool

        static let little = Layout(head: 8, sizeBytes: 4, isBigEndian: false, alignment: 2, countsHead: false)
        static let big = Layout(head: 8, sizeBytes: 4, isBigEndian: true, alignment: 2, countsHead: false)
        static let caf = Layout(head: 12, sizeBytes: 8, isBigEndian: true, alignment: 1, countsHead: false)
        static let wave64 = Layout(head: 24, sizeBytes: 8, isBigEndian: false, alignment: 8, countsHead: true)

        /// A size as the format writes it.
        func bytes(_ size: Int64) -> [UInt8] {
            let little = (0..<sizeBytes).map { UInt8(truncatingIfNeeded: size >> (8 * Int64($0))) }
            return isBigEndian ? little.reversed() : little
        }
    }

    struct Part {
        let name: [UInt8]
        /// Of its body.
        let start: Int64
        /// Of its body, as stated: anything, and the largest number there is where all bits are ones.
        let size: Int64
        /// Of the bytes that state the size.
        let sizeOffset: Int64

        func isNamed(_ text: String) -> Bool { name.elementsEqual(text.utf8) }
    }

    /// A file of more has no order that matters.
    private static let most = 1 << 14

    let reader: any ByteReader
    let name: String
    let layout: Layout
    /// Of the file.
    let size: Int64

    func part(at offset: Int64) throws -> Part? {
        guard offset >= 0, offset <= size - layout.head else { return nil }
        let head = try reader.peek(offset, Int(layout.head), name: name)
        guard head.count == Int(layout.head) else { return nil }
        let field = head.suffix(layout.sizeBytes)
        let raw = (layout.isBigEndian ? Array(field) : field.reversed()).reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
        let stated = Int64(clamping: raw)
        return Part(
            name: Array(head[..<4]), start: offset + layout.head,
            size: layout.countsHead ? max(stated - layout.head, 0) : stated,
            sizeOffset: offset + layout.head - Int64(layout.sizeBytes))
    }

    /// Where the part after this begins; nil beyond the file.
    func end(of part: Part) -> Int64? {
        guard let end = part.start.checkedAdding(part.size), end <= size else { return nil }
        return (end + layout.alignment - 1) / layout.alignment * layout.alignment
    }

    /// The part of a name, the last of the result, and descriptions of the samples that come before it; nil if there is
    /// none.
    func parts(from first: Int64, to wanted: String) throws -> [Part]? {
        var found: [Part] = []
        var offset = first
        for _ in 0..<Self.most {
            guard let part = try part(at: offset) else { return nil }
            if part.isNamed(wanted) { return found + [part] }
            if found.isEmpty, part.isNamed("fmt ") || part.isNamed("COMM") { found.append(part) }
            guard let end = end(of: part) else { return nil }
            offset = end
        }
        return nil
    }

    /// Whether nothing but whole parts lies between here and the end of the file.
    func isMadeOfParts(from offset: Int64) throws -> Bool {
        var offset = offset
        for _ in 0..<Self.most {
            // Rounding up, the last part may lack.
            if offset >= size { return true }
            guard let part = try part(at: offset), part.name.allSatisfy({ (0x20...0x7e).contains($0) }),
                let end = end(of: part)
            else { return false }
            offset = end
        }
        return false
    }

    /// Bytes of samples that begin at `start`, of which `stated` are stated: what a size that nobody filled in stands
    /// for.
    ///
    /// 0, all ones, the sizes that programs write to a pipe, what goes beyond the file, and a size over 4 GiB of which
    /// only the lower 32 bits are there: all of these mean up to the end of the file, unless other parts follow where
    /// they say.
    /// - Parameter isBare: Whether no other parts can follow.
    func sampleBytes(from start: Int64, stated: Int64, isBare: Bool = false) throws -> Int64 {
        let room = max(size - start, 0)
        if stated >= room { return room }
        let isPlaceholder = 0xffff_0000...0xffff_ffff ~= stated || 0x7fff_0000...0x8000_0000 ~= stated
        let isWrapped = room >= 1 << 32 && layout.sizeBytes == 4 && abs(room & 0xffff_ffff - stated) <= 1
        guard stated == 0 || layout.sizeBytes == 4 && isPlaceholder || isWrapped else { return stated }
        let end = (start + stated + layout.alignment - 1) / layout.alignment * layout.alignment
        return try !isBare && isMadeOfParts(from: end) ? stated : room
    }
}
