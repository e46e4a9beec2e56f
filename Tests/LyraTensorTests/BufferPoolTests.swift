import Foundation
import Synchronization
import Testing

@testable import LyraTensor

@Suite(.serialized) struct BufferPoolTests {
    @Test func aBlockServesTheNextOfItsSize() throws {
        BufferPool.trim()
        let size = try #require(BufferPool.bufferSize(1 << 20))
        let first = try #require(BufferPool.take(size))
        let second = try #require(BufferPool.take(size))
        #expect(first != second)
        BufferPool.give(first, size)
        #expect(BufferPool.take(size) == first)
        BufferPool.give(first, size)
        BufferPool.give(second, size)
        BufferPool.trim()
    }

    /// Blocks of sizes that are no longer asked for do not keep newer ones out.
    @Test func theNewestBlocksAreKept() throws {
        BufferPool.trim()
        let old = try #require(BufferPool.bufferSize(BufferPool.limit / 4))
        let stale = try (0..<4).map { _ in try #require(BufferPool.take(old)) }
        for block in stale { BufferPool.give(block, old) }
        let size = try #require(BufferPool.bufferSize(8 << 20))
        let block = try #require(BufferPool.take(size))
        BufferPool.give(block, size)
        #expect(BufferPool.take(size) == block, "it was kept")
        BufferPool.give(block, size)
        let again = try (0..<3).map { _ in try #require(BufferPool.take(old)) }
        #expect(Set(again) == Set(stale.dropFirst()), "the oldest made room")
        for block in again { BufferPool.give(block, old) }
        let huge = try #require(BufferPool.bufferSize(BufferPool.limit + 1))
        BufferPool.give(try #require(BufferPool.take(huge)), huge)
        let third = try (0..<3).map { _ in try #require(BufferPool.take(old)) }
        #expect(Set(third) == Set(again), "a block beyond the limit takes no other's place")
        for block in third { BufferPool.give(block, old) }
        BufferPool.trim()
    }

    /// A child that is forked while another thread takes and gives buffers has buffers too.
    @Test func aForkedChildHasBuffers() throws {
        typealias Fork = @convention(c) () -> pid_t
        let address = try #require(dlsym(nil, "fork")), fork = unsafeBitCast(address, to: Fork.self)
        let size = try #require(BufferPool.bufferSize(1 << 20))
        let goesOn = Mutex(true), ends = DispatchSemaphore(value: 0)
        Thread.detachNewThread {
            while goesOn.withLock({ $0 }) {
                if let block = BufferPool.take(size) { BufferPool.give(block, size) }
            }
            ends.signal()
        }
        defer {
            goesOn.withLock { $0 = false }
            ends.wait()
            BufferPool.trim()
        }
        for _ in 0..<300 {
            let child = fork()
            if child == 0 {
                alarm(5)  // for a child that waits for ever
                if let block = BufferPool.take(size) { BufferPool.give(block, size) }
                _exit(0)
            }
            var status: Int32 = -1
            #expect(waitpid(child, &status, 0) == child)
            try #require(status == 0)
        }
    }

    /// Sizes grow by an eighth at most, never shrink, and sizes that differ a little share blocks.
    @Test func sizesAreRoundedUpALittle() throws {
        var sizes = Set<Int>()
        for bytes in stride(from: 1, through: 40 << 20, by: 77_777) {
            let size = try #require(BufferPool.bufferSize(bytes))
            #expect(size >= bytes && size >= BufferPool.leastBytes && size % 4096 == 0)
            #expect(size <= max(bytes + bytes / 8 + 1, bytes + 64 << 10, BufferPool.leastBytes))
            sizes.insert(size)
        }
        #expect(sizes.count < 70)
        #expect(BufferPool.bufferSize(.max) == nil)
    }

    @Test func floatsAreWritableToTheLast() throws {
        for count in [1, 65_535, 65_536, 65_537, 1_000_003] {
            let storage = try FloatStorage(count: count)
            (storage.base[0], storage.base[count - 1]) = (1, 2)
            #expect(Int(bitPattern: storage.base) % 64 == 0 && storage.base[count - 1] == 2)
        }
    }

    /// What a prompt's chunks take and give back again does not pile up.
    @Test func memoryThatComesAndGoesStaysFlat() throws {
        func resident() throws -> Int {
            let fields = try String(contentsOfFile: "/proc/self/statm", encoding: .utf8).split(separator: " ")
            return try #require(Int(fields[1])) * 4096
        }
        func touched(_ count: Int) throws -> FloatStorage {
            let storage = try FloatStorage(count: count)
            storage.base.update(repeating: 1, count: count)
            return storage
        }
        BufferPool.trim()
        var before = 0
        for round in 0..<200 {
            // As in a layer: a large one while smaller ones that live on are made.
            let wide = try touched(512 * 8960)
            let kept = try touched(512 * 1536)
            let gated = try touched(512 * 4480)
            withExtendedLifetime((wide, kept, gated)) {}
            if round == 10 { before = try resident() }
        }
        #expect(try resident() - before < 8 << 20)
        BufferPool.trim()
        #expect(try resident() < before - 20 << 20, "what is kept is given back")
    }
}
