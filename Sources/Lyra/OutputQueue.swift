import LyraBase

/// Output that is not read yet. Reading removes elements from the front without moving the rest.
struct OutputQueue<Element: BitwiseCopyable> {
    private let made = GrowingBuffer<Element>()
    private var start = 0

    var isEmpty: Bool { start == made.count }
    var count: Int { made.count - start }

    /// The element at `index`, counted from the front.
    subscript(index: Int) -> Element { made[start + index] }

    /// At most `limit` elements from the front, valid until the next change.
    func prefix(_ limit: Int) -> Slice<GrowingBuffer<Element>> { made[start..<start + min(max(limit, 0), count)] }

    /// - Throws: `LyraError.memory` if there is no room.
    mutating func append(_ new: some Sequence<Element>) throws { try made.append(new) }

    mutating func append(_ new: Element) throws { try made.append(new) }

    mutating func removeAll() {
        made.removeAll()
        start = 0
    }

    mutating func removeFirst(_ number: Int) {
        start += min(max(number, 0), count)
        if isEmpty {
            removeAll()
        } else if start > made.count / 2 {
            made.removeFirst(start)
            start = 0
        }
    }

    /// Removes and returns at most `limit` elements.
    mutating func read(_ limit: Int = .max) -> [Element] {
        let result = Array(prefix(limit))
        removeFirst(result.count)
        return result
    }
}
