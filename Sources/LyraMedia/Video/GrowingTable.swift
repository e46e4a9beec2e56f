import Glibc
import LyraTensor

/// Values of a plain type, one after another, in memory from an allocator that can say no.
final class GrowingTable<Element: BitwiseCopyable> {
    private(set) var count = 0
    private var capacity = 0
    private var base: UnsafeMutablePointer<Element>?

    deinit { free(base) }

    var values: UnsafeMutableBufferPointer<Element> { UnsafeMutableBufferPointer(start: base, count: count) }

    /// - Throws: `LyraError(.memory)`.
    func append(_ value: Element) throws {
        if count == capacity { try grow() }
        if let base { (base + count).initialize(to: value) }
        count += 1
    }

    private func grow() throws {
        let wanted = max(64, capacity * 2)
        guard let memory = realloc(base, wanted * MemoryLayout<Element>.stride) else {
            throw LyraError(.memory, "no memory for a table of \(wanted) entries")
        }
        base = memory.bindMemory(to: Element.self, capacity: wanted)
        capacity = wanted
    }
}
