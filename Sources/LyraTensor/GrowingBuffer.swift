import Glibc

/// Elements one after the other in memory from an allocator that can say no. Belongs to one owner at a time.
public final class GrowingBuffer<Element: BitwiseCopyable>: @unchecked Sendable {
    private var base: UnsafeMutablePointer<Element>?
    private var capacity = 0
    public private(set) var count = 0

    public init() {}

    /// - Throws: `LyraError.memory` if there is no room.
    public convenience init(copying elements: some Sequence<Element>) throws {
        self.init()
        try append(elements)
    }

    deinit { free(base) }

    public var isEmpty: Bool { count == 0 }

    /// Valid until the next change.
    public var elements: UnsafeMutableBufferPointer<Element> { UnsafeMutableBufferPointer(start: base, count: count) }

    public subscript(index: Int) -> Element { elements[index] }

    /// - Throws: `LyraError.memory` if there is no room; the buffer is then unchanged.
    public func append(_ element: Element) throws {
        if count == capacity { try reserve(count + 1) }
        base?[count] = element
        count += 1
    }

    /// - Throws: `LyraError.memory` if there is no room; elements before it may have been appended.
    public func append(_ elements: some Sequence<Element>) throws {
        let isWhole: Void? = try elements.withContiguousStorageIfAvailable { part in
            guard let source = part.baseAddress, !part.isEmpty else { return }
            try reserve(count + part.count)
            base.map { $0 + count }?.update(from: source, count: part.count)
            count += part.count
        }
        if isWhole == nil { for element in elements { try append(element) } }
    }

    /// Makes it `count` elements long. New ones hold anything.
    ///
    /// - Throws: `LyraError.memory` if there is no room; the buffer is then unchanged.
    public func resize(to count: Int) throws {
        try reserve(count)
        self.count = count
    }

    /// Forgets the first `number` elements.
    public func removeFirst(_ number: Int) {
        guard let base, number > 0 else { return }
        count -= number
        base.update(from: base + number, count: count)
    }

    /// Forgets all elements, and gives back memory beyond `kept` of them.
    public func removeAll(keeping kept: Int = 0) {
        count = 0
        guard capacity > kept else { return }
        free(base)
        (base, capacity) = (nil, 0)
    }

    /// At least doubles, so that appending takes constant time on average.
    private func reserve(_ least: Int) throws {
        guard least > capacity else { return }
        let wanted = max(least, capacity > Int.max / 4 ? least : 2 * capacity, 64)
        let (bytes, overflow) = wanted.multipliedReportingOverflow(by: MemoryLayout<Element>.stride)
        guard !overflow, let memory = realloc(base, bytes) else {
            throw LyraError(.memory, "no memory for \(wanted) elements of \(MemoryLayout<Element>.stride) bytes")
        }
        base = memory.bindMemory(to: Element.self, capacity: wanted)
        capacity = wanted
    }
}

/// Asks the allocator before Swift does, which ends the process where there is no room.
///
/// - Throws: `LyraError.memory` if it has no `bytes` bytes in one piece.
public func requireMemory(_ bytes: Int) throws {
    guard let memory = malloc(max(bytes, 1)) else { throw LyraError(.memory, "no memory for \(bytes) bytes") }
    free(memory)
}
