import LyraBase

/// Output that is not read yet. Reading removes elements from the front without moving the rest.
struct OutputQueue<Element: BitwiseCopyable> {
    private let made = GrowingBuffer<Element>()
    private var start = 0

    var isEmpty: Bool { start == made.count }
    var count: Int { made.count - start }

    /// - Throws: `LyraError.memory` if there is no room.
    mutating func append(_ new: some Sequence<Element>) throws { try made.append(new) }

    mutating func append(_ new: Element) throws { try made.append(new) }

    mutating func removeAll() {
        made.removeAll()
        start = 0
    }

    /// Passes the elements to `body`, which returns how many it took.
    mutating func take(_ body: (UnsafeBufferPointer<Element>) throws -> Int) rethrows {
        let taken = try body(UnsafeBufferPointer(rebasing: made.elements[start...]))
        start += min(max(taken, 0), count)
        if isEmpty {
            removeAll()
        } else if start > made.count / 2 {
            made.removeFirst(start)
            start = 0
        }
    }

    /// Moves as many elements to `buffer` as fit. → the number of elements
    mutating func read(into buffer: UnsafeMutableBufferPointer<Element>) -> Int {
        var read = 0
        take { all in
            read = min(all.count, buffer.count)
            if let target = buffer.baseAddress, let source = all.baseAddress {
                target.update(from: source, count: read)
            }
            return read
        }
        return read
    }

    /// Removes and returns at most `limit` elements.
    mutating func read(_ limit: Int = .max) -> [Element] {
        var result: [Element] = []
        take { all in
            result = Array(all.prefix(limit))
            return result.count
        }
        return result
    }
}
