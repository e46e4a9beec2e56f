/// Untrusted bytes, read by offset. Any offset is allowed; a read beyond the bytes returns nil.
package struct ByteScan {
    package let bytes: UnsafeRawBufferPointer

    package init(_ bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

    /// At most `count` bytes from `offset` on; fewer or none at the end.
    package func section(_ offset: Int, _ count: Int) -> ByteScan {
        guard (0...bytes.count).contains(offset), count > 0 else { return ByteScan(.init(start: nil, count: 0)) }
        return ByteScan(.init(rebasing: bytes[offset..<offset + min(count, bytes.count - offset)]))
    }

    package func has(_ text: String, at offset: Int) -> Bool {
        section(offset, text.utf8.count).bytes.elementsEqual(text.utf8)
    }

    package func big16(_ offset: Int) -> Int? { integer(offset, 2, big: true) }
    package func big32(_ offset: Int) -> Int? { integer(offset, 4, big: true) }
    package func little16(_ offset: Int) -> Int? { integer(offset, 2, big: false) }
    package func little24(_ offset: Int) -> Int? { integer(offset, 3, big: false) }
    package func little32(_ offset: Int) -> Int? { integer(offset, 4, big: false) }

    /// An unsigned number of `count` bytes.
    package func integer(_ offset: Int, _ count: Int, big: Bool) -> Int? {
        let field = section(offset, count).bytes
        guard field.count == count else { return nil }
        return big ? field.reduce(0) { $0 << 8 | Int($1) } : field.reversed().reduce(0) { $0 << 8 | Int($1) }
    }
}
