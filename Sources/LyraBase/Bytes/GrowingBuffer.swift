import Glibc

/// A growable array that throws if there is no memory, where Swift's array would end the process: for data of unbounded
/// size. Not for concurrent use.
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

    /// `count` copies of `element`.
    ///
    /// - Throws: `LyraError.memory` if there is no room.
    public convenience init(repeating element: Element, count: Int) throws {
        self.init()
        try append(repeating: element, count: count)
    }

    deinit { free(base) }

    /// The elements in place. The pointer is valid until the buffer changes or is freed.
    public var elements: UnsafeMutableBufferPointer<Element> { UnsafeMutableBufferPointer(start: base, count: count) }

    /// - Throws: `LyraError.memory` if there is no room; the buffer is then unchanged.
    public func append(_ element: Element) throws {
        if count == capacity { try reserve(Swift.max(count + 1, 16)) }
        base?[count] = element
        count += 1
    }

    /// - Throws: `LyraError.memory` if there is no room; some elements may then have been appended.
    public func append(_ elements: some Sequence<Element>) throws {
        let isDone: Void? = try elements.withContiguousStorageIfAvailable { new in
            guard let source = new.baseAddress, !new.isEmpty else { return }
            try reserve(count + new.count)
            base.map { $0 + count }?.update(from: source, count: new.count)
            count += new.count
        }
        if isDone == nil { for element in elements { try append(element) } }
    }

    /// - Throws: `LyraError.memory` if there is no room; the buffer is then unchanged.
    public func append(repeating element: Element, count number: Int) throws {
        let old = count
        try resize(to: old + number)
        elements[old...].update(repeating: element)
    }

    /// A new buffer with the elements at `indices`.
    ///
    /// - Parameter indices: below `count`
    /// - Throws: `LyraError.memory` if there is no room.
    public func picking(_ indices: GrowingBuffer<Int32>) throws -> GrowingBuffer {
        try GrowingBuffer(copying: indices.elements.lazy.map { self[Int($0)] })
    }

    /// Changes the length to `count`. New elements are uninitialised.
    ///
    /// - Throws: `LyraError.memory` if there is no room; the buffer is then unchanged.
    public func resize(to count: Int) throws {
        try reserve(count)
        self.count = count
    }

    /// Removes all elements from index `number` on.
    public func truncate(to number: Int) { count = Swift.min(count, Swift.max(number, 0)) }

    /// Returns unused memory to the allocator, if possible.
    public func shrink() {
        guard count > 0 else { return removeAll() }
        guard count < capacity, let memory = realloc(base, count * MemoryLayout<Element>.stride) else { return }
        (base, capacity) = (memory.bindMemory(to: Element.self, capacity: count), count)
    }

    /// Removes the first `number` elements.
    public func removeFirst(_ number: Int) {
        guard let base, number > 0 else { return }
        count -= Swift.min(number, count)
        base.update(from: base + number, count: count)
    }

    /// Removes all elements, and frees the memory if it holds more than `kept` elements.
    public func removeAll(keeping kept: Int = 0) {
        count = 0
        guard capacity > kept else { return }
        free(base)
        (base, capacity) = (nil, 0)
    }

    /// Makes room for at least `total` elements; exactly `total` in a buffer without memory.
    ///
    /// - Throws: `LyraError.memory` if there is no room; the buffer is then unchanged.
    public func reserve(_ total: Int) throws {
        guard total > capacity else { return }
        // At least doubles, so that appending takes constant time on average.
        let wanted = Swift.max(total, capacity > Int.max / 4 ? total : 2 * capacity)
        guard let bytes = wanted.checkedMultiplying(by: MemoryLayout<Element>.stride),
            let memory = retryingAllocation({ realloc(base, Swift.max(bytes, 64)) })
        else {
            throw LyraError(.memory, "no memory for \(wanted) elements of \(MemoryLayout<Element>.stride) bytes")
        }
        base = memory.bindMemory(to: Element.self, capacity: wanted)
        capacity = wanted
    }
}

extension GrowingBuffer: RandomAccessCollection {
    public var startIndex: Int { 0 }
    public var endIndex: Int { count }

    /// The index must be below `count`.
    public subscript(index: Int) -> Element {
        get { elements[index] }
        set { elements[index] = newValue }
    }

    public func withContiguousStorageIfAvailable<R>(_ body: (UnsafeBufferPointer<Element>) throws -> R) rethrows -> R? {
        try body(UnsafeBufferPointer(elements))
    }
}

/// Checks that a large allocation by Swift would succeed, because Swift ends the process if it fails.
///
/// Maps and unmaps the memory; the compiler would remove a `malloc` followed by a `free`.
///
/// - Throws: `LyraError.memory` if the system has no `bytes` contiguous bytes. Up to 64 KiB are not checked.
public func requireMemory(_ bytes: Int) throws {
    guard bytes > 1 << 16 else { return }
    guard let memory = mapMemory(bytes) else { throw LyraError(.memory, "no memory for \(bytes) bytes") }
    munmap(memory, bytes)
}
