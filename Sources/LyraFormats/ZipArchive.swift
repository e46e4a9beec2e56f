import LyraBase

/// The entries of a zip archive in mapped memory, as torch.save writes them: neither compressed nor encrypted.
///
/// Layout: PKWARE APPNOTE 6.3.9, sections 4.3 (records), 4.4.1.4 and 4.5.3 (zip64).
struct ZipArchive {
    /// Where the bytes of each entry lie in the file, by the entry's name.
    private(set) var entries: [String: Range<Int>] = [:]

    /// The most entries that are read: several times the tensors of the largest models.
    private static let entryLimit: UInt64 = 1 << 17
    /// The fewest bytes that an entry takes in the directory.
    private static let entrySize = 46

    private struct Directory {
        var count: UInt64
        var size: UInt64
        var offset: UInt64
    }

    private enum Signature {
        static let localHeader: UInt32 = 0x0403_4B50
        static let directoryEntry: UInt32 = 0x0201_4B50
        static let end: UInt32 = 0x0605_4B50
        static let end64: UInt32 = 0x0606_4B50
        static let locator64: UInt32 = 0x0706_4B50
    }

    /// Reads and checks the central directory and every local header.
    ///
    /// - Throws: `.format` when a record is damaged or lies outside the file or two entries have one name;
    ///   `.unsupported` for a compressed or encrypted entry.
    init(_ file: MappedFile) throws {
        let directory = try Self.findDirectory(in: file)
        guard let start = Int(exactly: directory.offset), let size = Int(exactly: directory.size),
            start <= file.bytes.count, size <= file.bytes.count - start
        else {
            throw LyraError(
                .format,
                "\(file.path): the zip directory should be \(directory.size) bytes at byte \(directory.offset), beyond "
                    + "the end of the file at \(file.bytes.count); the file is damaged")
        }
        guard directory.count <= UInt64(size / Self.entrySize) else {
            throw LyraError(
                .format,
                "\(file.path): the zip directory of \(size) bytes cannot hold \(directory.count) entries; the file is "
                    + "damaged")
        }
        guard directory.count <= Self.entryLimit else {
            throw LyraError(
                .unsupported,
                "\(file.path): \(directory.count) entries in a zip archive; lyra reads at most \(Self.entryLimit)")
        }
        var cursor = try ByteCursor(file, start..<start + size, section: "the zip directory")
        var read: UInt64 = 0
        while read < directory.count {
            let (name, range) = try Self.entry(&cursor, in: file)
            guard entries.updateValue(range, forKey: name) == nil else {
                throw LyraError(
                    .format, "\(file.path): the zip entry \(shown(name)) is in the archive twice; the file is damaged")
            }
            read += 1
        }
    }

    private static func findDirectory(in file: MappedFile) throws -> Directory {
        let count = file.bytes.count
        // The end record has 22 bytes, followed by a comment of up to 65,535 bytes.
        var at = count - 22
        while at >= max(0, count - 22 - 65_535) {
            var cursor = try ByteCursor(file, at..<count, section: "the zip end record")
            if try cursor.integer(UInt32.self) == Signature.end {
                _ = try cursor.take(6)  // disk numbers, and the entries on this disk
                let directory = Directory(
                    count: UInt64(try cursor.integer(UInt16.self)), size: UInt64(try cursor.integer(UInt32.self)),
                    offset: UInt64(try cursor.integer(UInt32.self)))
                if Int(try cursor.integer(UInt16.self)) == cursor.remaining {
                    return try directory64(in: file, endRecord: at) ?? directory
                }
            }
            at -= 1
        }
        throw LyraError(.format, "\(file.path): a zip archive without its directory at the end; the file is truncated")
    }

    /// The directory that the zip64 end record describes, if there is one.
    private static func directory64(in file: MappedFile, endRecord: Int) throws -> Directory? {
        guard endRecord >= 20 else { return nil }
        var locator = try ByteCursor(file, endRecord - 20..<endRecord, section: "the zip64 locator")
        guard try locator.integer(UInt32.self) == Signature.locator64 else { return nil }
        _ = try locator.take(4)
        let offset = try locator.integer(UInt64.self)
        guard let start = Int(exactly: offset), start <= endRecord - 20 else {
            throw LyraError(
                .format, "\(file.path): the zip64 end record should be at byte \(offset); the file is damaged")
        }
        var cursor = try ByteCursor(file, start..<endRecord - 20, section: "the zip64 end record")
        guard try cursor.integer(UInt32.self) == Signature.end64 else {
            throw LyraError(.format, "\(file.path): no zip64 end record at byte \(offset); the file is damaged")
        }
        _ = try cursor.take(28)  // its size, versions, disk numbers, and the entries on this disk
        return Directory(count: try cursor.integer(), size: try cursor.integer(), offset: try cursor.integer())
    }

    private static func entry(_ cursor: inout ByteCursor, in file: MappedFile) throws -> (String, Range<Int>) {
        let place = cursor.offset
        guard try cursor.integer(UInt32.self) == Signature.directoryEntry else {
            throw LyraError(.format, "\(file.path): no zip directory entry at byte \(place); the file is damaged")
        }
        _ = try cursor.take(4)  // versions
        let flags = try cursor.integer(UInt16.self)
        let method = try cursor.integer(UInt16.self)
        _ = try cursor.take(8)  // time, date, checksum
        var compressedSize = UInt64(try cursor.integer(UInt32.self))
        var size = UInt64(try cursor.integer(UInt32.self))
        let nameLength = Int(try cursor.integer(UInt16.self))
        let extraLength = Int(try cursor.integer(UInt16.self))
        let commentLength = Int(try cursor.integer(UInt16.self))
        _ = try cursor.take(8)  // disk, attributes
        var offset = UInt64(try cursor.integer(UInt32.self))
        let name = try cursor.text(nameLength)
        let extra = cursor.position
        _ = try cursor.take(extraLength + commentLength)
        try readZip64(
            &size, &compressedSize, &offset, file: file,
            extra: cursor.base + extra..<cursor.base + extra + extraLength)

        guard method == 0, compressedSize == size else {
            throw LyraError(
                .unsupported,
                "\(file.path): the zip entry \(shown(name)) is compressed (method \(method)); torch.save does not "
                    + "compress")
        }
        guard flags & 1 == 0 else {
            throw LyraError(.unsupported, "\(file.path): the zip entry \(shown(name)) is encrypted")
        }
        return (name, try contents(name: name, offset: offset, size: size, in: file))
    }

    /// Replaces the values that do not fit 32 bits by those of the zip64 extra field.
    private static func readZip64(
        _ size: inout UInt64, _ compressedSize: inout UInt64, _ offset: inout UInt64, file: MappedFile,
        extra: Range<Int>
    ) throws {
        let full = UInt64(UInt32.max)
        guard size == full || compressedSize == full || offset == full else { return }
        var cursor = try ByteCursor(file, extra, section: "a zip extra field")
        while cursor.remaining >= 4 {
            let id = try cursor.integer(UInt16.self)
            let length = Int(try cursor.integer(UInt16.self))
            if id == 1 {
                if size == full { size = try cursor.integer() }
                if compressedSize == full { compressedSize = try cursor.integer() }
                if offset == full { offset = try cursor.integer() }
                return
            }
            _ = try cursor.take(length)
        }
    }

    /// The byte range of an entry. It follows the local header, whose extra field can differ from the directory's.
    private static func contents(name: String, offset: UInt64, size: UInt64, in file: MappedFile) throws -> Range<Int> {
        let total = file.bytes.count
        guard let header = Int(exactly: offset), header <= total else {
            throw LyraError(
                .format, "\(file.path): the zip entry \(shown(name)) should be at byte \(offset); the file is damaged")
        }
        var cursor = try ByteCursor(file, header..<total, section: "a zip entry")
        guard try cursor.integer(UInt32.self) == Signature.localHeader else {
            throw LyraError(
                .format, "\(file.path): no zip entry at byte \(header) for \(shown(name)); the file is damaged")
        }
        _ = try cursor.take(22)
        let nameLength = Int(try cursor.integer(UInt16.self))
        let extraLength = Int(try cursor.integer(UInt16.self))
        guard try cursor.text(nameLength) == name else {
            throw LyraError(
                .format, "\(file.path): the zip entry at byte \(header) is not \(shown(name)); the file is damaged")
        }
        _ = try cursor.take(extraLength)
        guard size <= UInt64(cursor.remaining) else {
            throw LyraError(
                .format,
                "\(file.path): the zip entry \(shown(name)) has \(size) bytes at byte \(cursor.offset), beyond the end "
                    + "of the file; the file is truncated")
        }
        return cursor.offset..<cursor.offset + Int(size)
    }
}
