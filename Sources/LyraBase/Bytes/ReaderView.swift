/// A view of a range of another reader, with bytes prepended or replaced.
///
/// Every read seeks the other reader first, so several views can share it.
package final class ReaderView: ByteReader {
    /// Bytes that replace the reader's.
    package struct Patch {
        /// Offset from the start of the view.
        let offset: Int64
        let bytes: [UInt8]

        package init(offset: Int64, bytes: [UInt8]) { (self.offset, self.bytes) = (offset, bytes) }
    }

    private let base: any ByteReader
    private let head: [UInt8]
    private let start: Int64
    private let end: Int64?
    private let patches: [Patch]
    private var position: Int64 = 0

    /// - Parameters:
    ///   - head: bytes before the reader's
    ///   - start: offset in the reader where the view starts
    ///   - end: offset in the reader where the view ends; nil for the reader's end
    package init(
        _ base: any ByteReader, head: [UInt8] = [], from start: Int64 = 0, to end: Int64? = nil, patches: [Patch] = []
    ) {
        (self.head, self.patches) = (head, patches)
        // A view of a view reads the base directly: thousands of joined files must not become thousands of nested
        // calls.
        if let view = base as? ReaderView, view.head.isEmpty, view.patches.isEmpty,
            let first = start.checkedAdding(view.start), let last = end.map({ $0.checkedAdding(view.start) }) ?? .max
        {
            (self.base, self.start) = (view.base, first)
            self.end = end == nil ? view.end : min(last, view.end ?? .max)
        } else {
            (self.base, self.start, self.end) = (base, start, end)
        }
    }

    package var size: Int64 {
        get throws {
            let stated = try base.size
            // The caller rejects a negative size.
            guard stated >= 0 else { return stated }
            return Int64(head.count) + max(min(end ?? stated, stated) - start, 0)
        }
    }

    package func seek(to offset: Int64) { position = max(offset, 0) }

    package func read(into buffer: UnsafeMutableRawBufferPointer) throws -> Int {
        let count = position < Int64(head.count) ? readHead(into: buffer) : try readBase(into: buffer)
        guard count >= 0, count <= buffer.count else { return count }
        for patch in patches { apply(patch, to: UnsafeMutableRawBufferPointer(rebasing: buffer[..<count])) }
        position += Int64(count)
        return count
    }

    private func readHead(into buffer: UnsafeMutableRawBufferPointer) -> Int {
        let count = min(buffer.count, head.count - Int(position))
        head.withUnsafeBytes {
            buffer.copyMemory(from: UnsafeRawBufferPointer(rebasing: $0[Int(position)..<Int(position) + count]))
        }
        return count
    }

    private func readBase(into buffer: UnsafeMutableRawBufferPointer) throws -> Int {
        guard let offset = (position - Int64(head.count)).checkedAdding(start), !buffer.isEmpty else { return 0 }
        let room = end.map { max($0 - offset, 0) } ?? .max
        guard room > 0 else { return 0 }
        try base.seek(to: offset)
        let count = Int(min(Int64(buffer.count), room))
        return try base.read(into: UnsafeMutableRawBufferPointer(rebasing: buffer[..<count]))
    }

    private func apply(_ patch: Patch, to buffer: UnsafeMutableRawBufferPointer) {
        let shift = patch.offset - position
        guard shift < Int64(buffer.count), shift > -Int64(patch.bytes.count) else { return }
        for (place, byte) in patch.bytes.enumerated() {
            let index = Int(shift) + place
            if buffer.indices.contains(index) { buffer[index] = byte }
        }
    }
}
