import Glibc

/// Elements one after the other in memory from an allocator that can say no: in place of an array wherever there can be
/// many, since an array that finds no memory ends the process. Belongs to one owner at a time.
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

    /// `count` times the same.
    ///
    /// - Throws: `LyraError.memory` if there is no room.
    public convenience init(repeating element: Element, count: Int) throws {
        self.init()
        try append(repeating: element, count: count)
    }

    deinit { free(base) }

    /// Valid until the next change, and while the buffer lives.
    public var elements: UnsafeMutableBufferPointer<Element> { UnsafeMutableBufferPointer(start: base, count: count) }

    /// - Throws: `LyraError.memory` if there is no room; the buffer is then unchanged.
    public func append(_ element: Element) throws {
        if count == capacity { try reserve(Swift.max(count + 1, 16)) }
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

    /// - Throws: `LyraError.memory` if there is no room; the buffer is then unchanged.
    public func append(repeating element: Element, count number: Int) throws {
        let old = count
        try resize(to: old + number)
        elements[old...].update(repeating: element)
    }

    /// The elements at `indices`, as a buffer of their own.
    ///
    /// - Parameter indices: below `count`
    /// - Throws: `LyraError.memory` if there is no room.
    public func picking(_ indices: GrowingBuffer<Int32>) throws -> GrowingBuffer {
        try GrowingBuffer(copying: indices.elements.lazy.map { self[Int($0)] })
    }

    /// Makes it `count` elements long. New ones hold anything.
    ///
    /// - Throws: `LyraError.memory` if there is no room; the buffer is then unchanged.
    public func resize(to count: Int) throws {
        try reserve(count)
        self.count = count
    }

    /// Forgets all elements from the first `number` on.
    public func truncate(to number: Int) { count = Swift.min(count, Swift.max(number, 0)) }

    /// Gives back memory beyond its elements, if the allocator can.
    public func shrink() {
        guard count > 0 else { return removeAll() }
        guard count < capacity, let memory = realloc(base, count * MemoryLayout<Element>.stride) else { return }
        (base, capacity) = (memory.bindMemory(to: Element.self, capacity: count), count)
    }

    /// Forgets the first `number` elements.
    public func removeFirst(_ number: Int) {
        guard let base, number > 0 else { return }
        count -= Swift.min(number, count)
        base.update(from: base + number, count: count)
    }

    /// Forgets all elements, and gives back memory beyond `kept` of them.
    public func removeAll(keeping kept: Int = 0) {
        count = 0
        guard capacity > kept else { return }
        free(base)
        (base, capacity) = (nil, 0)
    }

    /// Makes room for `total` elements; exactly that many where there was none.
    ///
    /// - Throws: `LyraError.memory` if there is no room; the buffer is then unchanged.
    public func reserve(_ total: Int) throws {
        guard total > capacity else { return }
        // At least doubles, so that appending takes constant time on average.
        let wanted = Swift.max(total, capacity > Int.max / 4 ? total : 2 * capacity)
        guard let bytes = wanted.checkedMultiplying(by: MemoryLayout<Element>.stride),
            let memory = realloc(base, Swift.max(bytes, 64))
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

/// Checks that a large allocation by Swift will succeed: if one fails, Swift ends the process.
///
/// The room is mapped and given back: the compiler removes a `malloc` whose memory is only freed.
///
/// - Throws: `LyraError.memory` if the system has no `bytes` bytes in one piece. Up to 64 KiB are not checked.
public func requireMemory(_ bytes: Int) throws {
    guard bytes > 1 << 16 else { return }
    let memory = mmap(nil, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
    guard let memory, memory != MAP_FAILED else { throw LyraError(.memory, "no memory for \(bytes) bytes") }
    munmap(memory, bytes)
}
