/// What was made and not read yet; reading takes from the front at no cost for what stays.
struct OutputQueue<Element> {
    private var elements: [Element] = []
    private var start = 0

    var isEmpty: Bool { start == elements.count }
    var count: Int { elements.count - start }

    mutating func append(_ new: some Sequence<Element>) { elements.append(contentsOf: new) }

    mutating func removeAll() {
        elements = []
        start = 0
    }

    /// Lets `body` see what is there; what it returns is the number of elements it took.
    mutating func take(_ body: (UnsafeBufferPointer<Element>) -> Int) -> Int {
        let taken = elements.withUnsafeBufferPointer { body(UnsafeBufferPointer(rebasing: $0[start...])) }
        start += min(max(taken, 0), count)
        if isEmpty {
            removeAll()
        } else if start > elements.count / 2 {
            elements.removeFirst(start)
            start = 0
        }
        return taken
    }

    /// The next `limit` elements at most, taken.
    mutating func read(_ limit: Int = .max) -> [Element] {
        var result: [Element] = []
        _ = take { all in
            result = Array(all.prefix(limit))
            return result.count
        }
        return result
    }
}
