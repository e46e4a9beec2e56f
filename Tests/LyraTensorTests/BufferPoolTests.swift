import Foundation
import Synchronization
import Testing

@testable import LyraTensor

@Suite(.serialized) struct BufferPoolTests {
    @Test func aReturnedBufferIsReusedForItsSize() throws {
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

    /// Buffers of sizes that are no longer requested make room for newer ones.
    @Test func theNewestBuffersAreKept() throws {
        BufferPool.trim()
        let old = try #require(BufferPool.bufferSize(BufferPool.limit / 4))
        let stale = try (0..<4).map { _ in try #require(BufferPool.take(old)) }
        for buffer in stale { BufferPool.give(buffer, old) }
        let size = try #require(BufferPool.bufferSize(8 << 20))
        let buffer = try #require(BufferPool.take(size))
        BufferPool.give(buffer, size)
        #expect(BufferPool.take(size) == buffer, "the buffer was kept")
        BufferPool.give(buffer, size)
        let again = try (0..<3).map { _ in try #require(BufferPool.take(old)) }
        #expect(Set(again) == Set(stale.dropFirst()), "the oldest was freed")
        for buffer in again { BufferPool.give(buffer, old) }
        let huge = try #require(BufferPool.bufferSize(BufferPool.limit + 1))
        BufferPool.give(try #require(BufferPool.take(huge)), huge)
        let third = try (0..<3).map { _ in try #require(BufferPool.take(old)) }
        #expect(Set(third) == Set(again), "a buffer beyond the limit replaces no other")
        for buffer in third { BufferPool.give(buffer, old) }
        BufferPool.trim()
    }

    /// A child that is forked while another thread uses the pool can use it, too.
    @Test func aForkedChildCanUseThePool() throws {
        typealias Fork = @convention(c) () -> pid_t
        let address = try #require(dlsym(nil, "fork")), fork = unsafeBitCast(address, to: Fork.self)
        let size = try #require(BufferPool.bufferSize(1 << 20))
        let goesOn = Mutex(true), ends = DispatchSemaphore(value: 0)
        Thread.detachNewThread {
            while goesOn.withLock({ $0 }) {
                if let buffer = BufferPool.take(size) { BufferPool.give(buffer, size) }
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
                alarm(5)  // ends a child that hangs
                if let buffer = BufferPool.take(size) { BufferPool.give(buffer, size) }
                _exit(0)
            }
            var status: Int32 = -1
            #expect(waitpid(child, &status, 0) == child)
            try #require(status == 0)
        }
    }

    /// Sizes are rounded up by an eighth at most, so that similar sizes share buffers.
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

    @Test func floatsAreWritableToTheEnd() throws {
        for count in [1, 65_535, 65_536, 65_537, 1_000_003] {
            let storage = try FloatStorage(count: count)
            (storage.base[0], storage.base[count - 1]) = (1, 2)
            #expect(Int(bitPattern: storage.base) % 64 == 0 && storage.base[count - 1] == 2)
        }
    }

    /// Memory that the chunks of a prompt take and return does not accumulate.
    @Test func memoryOfRepeatedChunksIsReused() throws {
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
            // As in a layer: one large buffer, while smaller ones that live longer are taken.
            let wide = try touched(512 * 8960)
            let kept = try touched(512 * 1536)
            let gated = try touched(512 * 4480)
            withExtendedLifetime((wide, kept, gated)) {}
            if round == 10 { before = try resident() }
        }
        #expect(try resident() - before < 8 << 20)
        BufferPool.trim()
        #expect(try resident() < before - 20 << 20, "trim returns the kept memory to the system")
    }
}
